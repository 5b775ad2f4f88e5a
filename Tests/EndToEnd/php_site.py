"""A PHP application under php-fpm, behind an nginx of its own."""

import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

from waiting import eventually


@contextmanager
def php_site(folder, script, environment={}, **values):
    """Yields the unix socket at which `script` answers every address. `values` are in its $_SERVER, `environment` is that of
    php-fpm's pool, whose own socket is fpm.sock in `folder`."""
    fpm = next(iter(sorted(Path("/usr/sbin").glob("php-fpm*"))), None)
    assert fpm, "php-fpm is missing: apt-get install php-fpm"
    parameters = " ".join(f"fastcgi_param {name} {value};" for name, value in values.items())
    variables = "\n".join(f'env[{name}] = "{value}"' for name, value in environment.items())
    (folder / "fpm.conf").write_text(f"""
[global]
error_log = {folder}/fpm.log
[app]
listen = {folder}/fpm.sock
listen.mode = 0666
pm = static
pm.max_children = 2
php_admin_value[session.save_path] = {folder}
php_admin_value[opcache.enable] = 0
{variables}
""")
    (folder / "nginx.conf").write_text(f"""
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen unix:{folder}/site.sock;
        location / {{
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME "{script}";
            {parameters}
            fastcgi_pass unix:{folder}/fpm.sock;
        }}
    }}
}}
""")
    folder.chmod(0o711)
    for parent in folder.parents:
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    as_root = ["-R"] if os.geteuid() == 0 else []
    user = folder / "fpm.conf"
    if as_root:
        user.write_text(user.read_text() + "user = root\ngroup = root\n")
    programs = [subprocess.Popen([fpm, "-F", *as_root, "-y", user]),
                subprocess.Popen(["/usr/sbin/nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"])]
    try:
        for name in ("fpm.sock", "site.sock"):
            eventually(lambda: (folder / name).exists() or any(one.poll() is not None for one in programs),
                       why=lambda: f"{name} is not there")
            assert all(one.poll() is None for one in programs), "php-fpm or nginx ended"
        os.chmod(folder / "site.sock", 0o666)
        yield folder / "site.sock"
    finally:
        for one in programs:
            one.send_signal(signal.SIGTERM)
        for one in programs:
            one.wait(20)
