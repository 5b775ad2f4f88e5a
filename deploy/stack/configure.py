"""Writes all configuration files of an instance before its start, from templates and from nginx/."""

import os
import pwd
import re
import resource
import shutil
import subprocess
from pathlib import Path

from instance import CHECKOUT, PASSED_ON, Refusal, link, say, write_private

HERE = Path(__file__).resolve().parent

# Name, stop signal, seconds until KILL, whether supervisord starts it by itself. The programs wait for the migrations.
SERVERS = (
    ("postgres", "INT", 10, True),
    ("redis", "TERM", 5, True),
    ("rabbitmq", "TERM", 8, True),
    ("seaweedfs", "TERM", 2, True),  # takes ten seconds to end by itself, and a KILL loses nothing
    ("nginx", "TERM", 3, True),
)
PROGRAMS = ("fcgi-api", "ws-relay", "queue-worker")
PROGRAM_STOP_SECONDS = 15


def configure(instance, ports):
    """Everything below the runtime folder may be lost at any time (a cleaned /tmp): each start writes it again."""
    instance.make_folders()
    values = {
        "RUNTIME": instance.runtime, "HTTP_PORT": ports["HTTP"], "S3_PORT": ports["S3"], "AMQP_PORT": ports["AMQP"],
        "AMQP_PASSWORD": instance.secrets()["AMQP_PASSWORD"],
        "DURABLE": "off" if os.environ.get("CHAT_DURABLE") == "off" else "on",
        "USER": pwd.getpwuid(os.getuid()).pw_name,
        # For each nginx worker: all files that it may open, minus its logs, listeners and files.
        "FILES": open_files(), "CONNECTIONS": open_files() - 100,
        "PROGRAMS": "\n".join(program_sections(instance)),
    }
    for folder in ("redis", "rabbitmq", "seaweedfs"):
        (instance.folder / folder).mkdir(mode=0o700, exist_ok=True)
    for name in ("redis.conf", "rabbitmq.conf", "supervisord.conf"):
        write_private(instance.runtime / name, fill((HERE / "templates" / name).read_text(), values))
    postgres_folders(instance)
    postgresql_conf = instance.runtime / "postgresql.conf"
    postgresql_conf.unlink(missing_ok=True)
    postgresql_conf.write_text(fill((HERE / "templates" / "postgresql.conf").read_text(), values))
    postgresql_conf.chmod(0o644)
    nginx_folder(instance, values)
    write_settings(instance, ports)


def open_files():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)


def fill(text, values):
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def program_sections(instance):
    for name, signal, seconds, autostart in SERVERS:
        yield section(name, f"{instance.runtime}/checkout/deploy/stack/servers/{name}", signal, seconds, autostart)
    for name in PROGRAMS:
        command = f"setpriv --pdeathsig TERM {instance.runtime}/bin/{name} serve -c {instance.runtime}/run/chat.env"
        yield section(name, command, "TERM", PROGRAM_STOP_SECONDS, False)


def section(name, command, signal, seconds, autostart):
    return f"""[program:{name}]
command={command}
directory={"/" if name == "postgres" else "%(here)s"}
autostart={str(autostart).lower()}
autorestart=true
startsecs=1
startretries=100
stopsignal={signal}
stopwaitsecs={seconds}
killasgroup=true
redirect_stderr=true
stdout_logfile=%(here)s/log/{name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
"""


# -- PostgreSQL as root: its data must be in a folder that the user `postgres` can enter

def postgres_data(instance):
    return Path(os.path.realpath(instance.folder / "postgres"))


def postgres_folders(instance):
    sockets = instance.runtime / "postgres"
    sockets.mkdir(mode=0o700, exist_ok=True)
    data_link = instance.folder / "postgres"
    if os.getuid() != 0:
        return
    postgres = pwd.getpwnam("postgres")
    os.chown(sockets, postgres.pw_uid, postgres.pw_gid)
    if data_link.exists() or reachable_by_postgres(instance.folder):
        return
    # A checkout below /root (mode 0700) is closed to PostgreSQL. Its data go to /var/tmp, which outlives a reboot.
    outside = Path("/var/tmp") / instance.runtime.name
    if outside.is_symlink() or (outside.exists() and outside.stat().st_uid != 0):
        raise Refusal(f"{outside} belongs to another user: remove it.")
    shutil.rmtree(outside, ignore_errors=True)  # of an instance whose folder is gone
    outside.mkdir(mode=0o711)
    link(data_link, outside / "postgres")


def reachable_by_postgres(folder):
    command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "test", "-x", str(folder)]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


# -- nginx: the same include files that an existing nginx would take, with three values replaced

def nginx_folder(instance, values):
    folder = instance.runtime / "nginx"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "chat").mkdir(parents=True)
    shutil.copytree(CHECKOUT / "nginx" / "html", folder / "html")
    for name in ("chat.js", "chat-room.js", "push.js", "push-worker.js"):
        shutil.copy(CHECKOUT / "clients" / "js" / name, folder / "html")
    link(folder / "log", instance.log)
    for source in (CHECKOUT / "nginx" / "include").glob("*.conf"):
        (folder / "chat" / source.name).write_text(for_instance(source.read_text(), instance, values))
    server = fill((CHECKOUT / "nginx" / "chat.conf.template").read_text(), values)
    if os.getuid() == 0:
        # Only their owner may use the sockets, so nginx's workers must be root when the programs are.
        server = "user root;\n" + server
    (folder / "chat.conf").write_text(server)


def for_instance(text, instance, values):
    upload_limit = os.environ.get("CHAT_UPLOAD_LIMIT") or "24m"
    origins = [origin.strip() for origin in os.environ.get("CORS_ORIGINS", "").split(",") if origin.strip()]
    folder = os.environ.get("STORAGE", "").removeprefix("disk:")
    files = folder if folder.startswith("/") else f"{instance.runtime}/run/files"
    for ours, theirs in (
        ("unix:/run/chat/", f"unix:{instance.runtime}/"), ("127.0.0.1:8333;", f"127.0.0.1:{values['S3_PORT']};"),
        ("root /var/lib/chat/files/", f"root {files}/"), ("client_max_body_size 24m;", f"client_max_body_size {upload_limit};"),
        ('"24 MB"', f'"{in_words(upload_limit)}"'), ("/var/log/nginx/chat.log", "log/access.log"),
        ('  default  "";\n  # "https://app.example"  $http_origin;\n', cors_lines(origins)),
    ):
        text = text.replace(ours, theirs)
    return text


def in_words(limit):
    return re.sub(r"(?i)([kmg])$", lambda unit: f" {unit[1].upper()}B", limit)


def cors_lines(origins):
    if origins == ["*"]:
        return '  default  "*";\n'
    return '  default  "";\n' + "".join(f'  "{origin}"  $http_origin;\n' for origin in origins)


# -- the settings of the three programs

def write_settings(instance, ports):
    secret = instance.secrets()
    settings = {
        "RUN_DIR": instance.runtime,
        "MIGRATIONS_DIR": f"{instance.runtime}/checkout/Migrations",
        "DOCS_DIR": f"{instance.runtime}/checkout/docs",
        "JWT_SECRET": secret["JWT_SECRET"],
        "DATABASE_URL": f"postgresql://chat@/chat?host={instance.runtime}/postgres",
        "REDIS_URL": f"unix://{instance.runtime}/redis.sock",
        "RABBITMQ_URL": f"amqp://chat:{secret['AMQP_PASSWORD']}@127.0.0.1:{ports['AMQP']}/",
        "RABBITMQ_TOTAL_QUEUE": 10,
        "S3_ENDPOINT": f"http://127.0.0.1:{ports['S3']}",
        "S3_ACCESS_KEY": "chat",
        "S3_SECRET_KEY": secret["S3_SECRET_KEY"],
        "S3_BUCKET_NAME": "chat",
        "S3_REGION": "us-east-1",
        "FCGI_ROOMS_LISTEN": f"unix:{instance.runtime}/fcgi-rooms.sock",
        "FCGI_MESSAGES_LISTEN": f"unix:{instance.runtime}/fcgi-messages.sock",
        "FCGI_SEARCH_LISTEN": f"unix:{instance.runtime}/fcgi-search.sock",
        "FCGI_UPLOADS_LISTEN": f"unix:{instance.runtime}/fcgi-uploads.sock",
        "FCGI_ACCOUNT_LISTEN": f"unix:{instance.runtime}/fcgi-account.sock",
        "WS_LISTEN": f"unix:{instance.runtime}/ws-relay.sock",
        "PUBLIC_URL": f"http://127.0.0.1:{ports['HTTP']}",
        "LOG_LEVEL": "info",
        # As many as the descriptors of the relay and of nginx allow.
        "WS_MAX_CONNECTIONS": max(1000, min(open_files() - 500, 60_000)),
    }
    given = {name: value for name, value in os.environ.items() if value and "\n" not in value}
    passed_on = {name: value for name, value in given.items() if name.startswith(PASSED_ON) and not name.endswith("_LISTEN")}
    settings |= passed_on
    unused = sorted(given.keys() & names_of_settings() - passed_on.keys())
    if unused:
        say(f"not used from the environment: {', '.join(unused)}. This stack has servers, folders and sockets of its own")
    write_private(instance.env_file, "".join(f"{name}={value}\n" for name, value in settings.items()))


def names_of_settings():
    return set(re.findall(r"^([A-Z][A-Z0-9_]*)=", (CHECKOUT / ".env.example").read_text(), re.MULTILINE))


def environment(instance, ports):
    """The environment of supervisord and its children: without the caller's variables, which could lead to other servers."""
    kept = ("USER", "LOGNAME", "TZ", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE", "TSAN_OPTIONS", "ASAN_OPTIONS")
    path = os.environ.get("PATH", "/usr/bin:/bin")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PATH": f"{path}:/usr/sbin:/sbin",
        "HOME": str(instance.runtime),
        "LANG": "C.UTF-8",
        # Marks every process of this stack, so that leftovers are recognised with certainty (processes.py).
        "CHAT_STACK": str(instance.runtime),
        "CHAT_DIR": str(instance.folder),
        "CHAT_PYTHON": "/usr/bin/python3",
        "CHAT_WEED": str(instance.runtime / "checkout/.venv/bin/weed"),
        "CHAT_POSTGRES_DATA": str(postgres_data(instance)),
        "CHAT_INITDB_FLAGS": "--no-sync" if os.environ.get("CHAT_DURABLE") == "off" else "",
        **{f"CHAT_{name}_PORT": str(port) for name, port in ports.items()},
    }
