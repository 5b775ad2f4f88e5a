"""Inspection of files: type by content, thumbnails, removal of locations, and viruses."""

import os
import shutil
import subprocess
import uuid

import pytest
import requests
from client import message_frame
from store import names
from uploads import begin, bytes_of, form, post
from waiting import eventually

PDF = b"%PDF-1.4\n1 0 obj\n"
HTML = b"<!doctype html><html><body><script>alert(1)</script></body></html>"
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00" + bytes(100)
# The test virus of EICAR, in two pieces, so that this file is none.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}" + rb"$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@pytest.fixture
def room(ann, bob):
    return ann.group(bob)


@pytest.fixture
def photo(tmp_path):
    """600 x 400, rotated, and with a location."""
    path = tmp_path / "photo.jpg"
    subprocess.run(["vips", "gaussnoise", f"{path}.v", "600", "400", "--mean", "128"], check=True)
    subprocess.run(["vips", "cast", f"{path}.v", f"{path}", "uchar"], check=True)
    subprocess.run(["exiftool", "-q", "-overwrite_original", "-GPSLatitude=52.5", "-GPSLatitudeRef=N", "-GPSLongitude=13.4",
                    "-GPSLongitudeRef=E", "-Orientation#=6", "-Artist=Ann", path], check=True)
    return path.read_bytes()


def facts(tmp_path, content):
    path = tmp_path / str(uuid.uuid4())
    path.write_bytes(content)
    return subprocess.run(["exiftool", path], stdout=subprocess.PIPE, text=True, check=True).stdout


def described(user, message, seconds=60):
    def file():
        return user.data("GET", f"/messages/{message}")["File"]

    return eventually(lambda: {"Width", "Duration"} & set(found := file()) and found, seconds,
                      lambda: f"nobody looked into it: {file()}", pause=0.2)


def test_a_picture_gets_a_thumbnail_and_loses_its_location(ann, bob, make_user, room, photo, tmp_path):
    assert "GPS Latitude" in facts(tmp_path, photo)
    with bob.socket() as theirs:
        message = form(ann, room, photo, "photo.jpg", "image/jpeg").json()["Data"]["ID"]
        frame = theirs.wait(lambda frame: frame["Type"] == "message_updated" and frame["Data"]["ID"] == message, 60)
        file = frame["Data"]["File"]
    assert (file["Width"], file["Height"], file["Orientation"]) == (400, 600, 6)
    assert len(file["BlurHash"]) == 28 and file["ContentType"] == "image/jpeg"
    assert described(bob, message) == file
    got = bytes_of(bob, message).content
    told = facts(tmp_path, got)
    assert "GPS" not in told and "Ann" in told and file["Size"] == len(got)
    link = requests.get(file["ThumbnailURL"], headers={"Authorization": f"Bearer {bob.token}"}, timeout=30)
    assert link.headers["Content-Type"] == "image/jpeg" and len(link.content) < len(photo)
    small = facts(tmp_path, link.content)
    assert "341x512" in small and "GPS" not in small and "Ann" not in small
    path = file["ThumbnailURL"].split("/api/v1")[1]
    make_user().rest("GET", path, expect=404)
    # Other users see it in the room to which it is forwarded.
    eve = make_user()
    other = bob.group(eve)
    body = {"Content": "x", "ContentType": "image", "MessageType": "forwarded", "ParentMessageID": message}
    forwarded = bob.data("POST", f"/rooms/{other}/messages", body, 201)
    url = forwarded["File"]["ThumbnailURL"]
    assert requests.get(url, headers={"Authorization": f"Bearer {eve.token}"}, timeout=30).content == link.content


def test_its_thumbnail_has_the_same_link_where_a_relay_reads_the_database(ann, bob, settings, photo):
    """After a loss of Redis the relay itself writes the frames that a client missed."""
    room = ann.group(bob)
    message = form(ann, room, photo, "photo.jpg", "image/jpeg").json()["Data"]["ID"]
    link = described(bob, message)["ThumbnailURL"]
    redis = ["redis-cli", "-s", settings["REDIS_URL"].removeprefix("unix://")]
    deleted = subprocess.run([*redis, "DEL", f"room:{room}:log"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert deleted == "1\n"
    with bob.socket() as back:
        back.send({"Type": "resume", "Rooms": [{"RoomID": room, "Seq": 0}]})
        frame = back.wait(lambda frame: frame["Type"] == "message_updated" and frame["Data"]["ID"] == message)
    assert frame["Data"]["File"]["ThumbnailURL"] == link


def test_what_is_no_picture_stays_as_it_is(ann, room, photo):
    broken = form(ann, room, photo[:2000] + os.urandom(500), "broken.jpg", "image/jpeg").json()["Data"]["ID"]
    junk = form(ann, room, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + os.urandom(500), "junk.png", "image/png").json()["Data"]["ID"]
    whole = form(ann, room, photo, "whole.jpg", "image/jpeg").json()["Data"]["ID"]
    assert described(ann, whole)["Width"] == 400
    assert "ThumbnailURL" not in ann.data("GET", f"/messages/{junk}")["File"]
    assert ann.data("GET", f"/messages/{broken}")["Status"] == "sent"


PLACES = ["-IPTC:City=Berlin", "-IPTC:Sub-location=Mitte", "-XMP-photoshop:City=Berlin", "-XMP-iptcCore:Location=Mitte",
          "-XMP-iptcExt:LocationShownCity=Berlin", "-XMP-exif:GPSLatitude=52.5"]


@pytest.mark.parametrize("cut", [False, True])
def test_every_place_goes_before_others_get_the_picture(ann, bob, room, photo, tmp_path, cut):
    path = tmp_path / "placed.jpg"
    path.write_bytes(photo)
    subprocess.run(["exiftool", "-q", "-overwrite_original", *PLACES, path], check=True)
    # Truncated after its head it cannot be displayed here, but other programs display the rest.
    content = path.read_bytes()[:-3000] if cut else path.read_bytes()
    assert "Berlin" in facts(tmp_path, content) and "GPS" in facts(tmp_path, content)
    message = form(ann, room, content, "photo.jpg", "image/jpeg").json()["Data"]["ID"]
    assert bytes_of(ann, message).status_code == 200

    def answered():
        answer = bob.rest("GET", f"/files/{message}", allow_redirects=False)
        if answer.status_code == 503:
            assert answer.json()["Error"]["Code"] == "busy" and answer.headers["Retry-After"]
            return None
        return answer.headers

    answer = eventually(answered, why=lambda: "nobody looked into it")
    told = facts(tmp_path, requests.get(answer["Location"], timeout=30).content)
    assert "GPS" not in told and "Berlin" not in told and "Mitte" not in told and "Ann" in told


def test_a_picture_with_too_many_pixels_delays_nobody(ann, bob, room, photo, tmp_path):
    huge = tmp_path / "huge.png"
    subprocess.run(["vips", "black", f"{tmp_path}/huge.v", "20000", "20000"], check=True)
    subprocess.run(["vips", "pngsave", f"{tmp_path}/huge.v", f"{huge}", "--compression", "9", "--bitdepth", "1"], check=True)
    sent = [form(ann, room, huge.read_bytes(), "huge.png", "image/png").json()["Data"]["ID"] for _ in range(5)]
    mine = form(bob, room, photo, "photo.jpg", "image/jpeg").json()["Data"]["ID"]
    # Users take turns: at most two files of the other user come first.
    assert "ThumbnailURL" in described(bob, mine)
    waiting = [one for one in sent if "Width" not in ann.data("GET", f"/messages/{one}")["File"]]
    assert len(waiting) >= 2, "files are looked into in the order in which they came"
    file = described(ann, sent[0])
    assert (file["Width"], file["Height"]) == (20000, 20000) and "ThumbnailURL" not in file


@pytest.mark.skipif(not shutil.which("ffprobe") or not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_sounds_and_films_have_their_length(ann, bob, room, tmp_path):
    tone, film = ["-f", "lavfi", "-i", "sine=duration=1.5"], ["-f", "lavfi", "-i", "testsrc=duration=2:size=64x64:rate=10"]
    with bob.socket() as theirs:
        for name, kind, source, duration in [
            ("tone.wav", "audio/wav", tone, 1500), ("tone.ogg", "audio/ogg", tone, 1500), ("film.mp4", "video/mp4", film, 2000),
        ]:
            subprocess.run(["ffmpeg", "-v", "error", *source, tmp_path / name], check=True)
            sent = form(ann, room, (tmp_path / name).read_bytes(), name, kind).json()["Data"]
            assert sent["ContentType"] == kind.split("/")[0] and "Duration" not in sent["File"]
            told = theirs.wait(lambda frame: frame["Type"] == "message_updated" and frame["Data"]["ID"] == sent["ID"], 60)
            assert abs(told["Data"]["File"]["Duration"] - duration) < 50, name
            assert described(ann, sent["ID"]) == told["Data"]["File"]


def test_bytes_that_say_something_else(ann, bob, room):
    for kind, name, claimed, content in [
        ("image", "a.png", "image/png", HTML), ("image", "a.png", "image/png", ELF), ("video", "a.mp4", "video/mp4", PDF),
    ]:
        message = begin(ann, room, name, kind)
        assert post(ann, message, content, kind=claimed, expect=415)["Code"] == "unsupported_media_type"
        assert ann.data("GET", f"/files/{message}/upload")["Received"] == []
    # A page that claims to be a document is still a page: it is only offered for download.
    message = form(ann, room, HTML, "report.pdf", "application/pdf").json()["Data"]
    assert message["File"]["ContentType"] == "text/html"
    got = bytes_of(bob, message["ID"])
    assert got.headers["Content-Disposition"].startswith("attachment")
    assert got.headers["Content-Type"] == "application/octet-stream"


def test_an_operators_list_of_types(ann, room, photo, reconfigure):
    reconfigure("fcgi-api", UPLOAD_TYPES_IMAGE="image/png", UPLOAD_TYPES_FILE="application/pdf,text/plain")
    assert form(ann, room, photo, "photo.jpg", "image/jpeg").json()["Error"]["Code"] == "unsupported_media_type"
    assert form(ann, room, b"MZ", "a.exe", "application/x-dosexec").status_code == 415
    assert form(ann, room, PDF, "a.pdf").status_code == 201


@pytest.fixture
def clamd(tmp_path):
    """ClamAV's daemon with one signature of our own: the official ones cannot be downloaded here."""
    if not (program := shutil.which("clamd", path=f"{os.environ['PATH']}:/usr/sbin")):
        pytest.skip("clamd is not installed")
    folder = tmp_path / "signatures"
    folder.mkdir(mode=0o755)
    (folder / "test.ndb").write_text(f"Eicar-Test:0:*:{EICAR.hex()}\n")
    socket = tmp_path / "clamd.sock"
    config = tmp_path / "clamd.conf"
    config.write_text(f"LocalSocket {socket}\nDatabaseDirectory {folder}\nForeground yes\nUser {'root' if os.getuid() == 0 else os.environ['USER']}\n"
                      f"LogFile {tmp_path}/clamd.log\n")
    process = subprocess.Popen([program, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    eventually(lambda: socket.exists() or process.poll() is not None, why=lambda: (tmp_path / "clamd.log").read_text(), pause=0.1)
    assert socket.exists(), (tmp_path / "clamd.log").read_text()
    yield f"unix:{socket}"
    process.terminate()
    process.wait(20)


def test_a_virus_is_put_aside_and_told(ann, bob, room, clamd, settings, reconfigure):
    reconfigure("fcgi-api", CLAMD_ADDRESS=clamd)
    with ann.socket() as mine, bob.socket() as theirs:
        message = mine.ask(message_frame(RoomID=room, Content="a.zip", ContentType="file"))["Data"]["ID"]
        error = post(ann, message, EICAR, kind="application/zip", expect=422)
        assert error["Code"] == "infected" and "Eicar-Test" in error["Message"]
        assert ann.data("GET", f"/messages/{message}")["Status"] == "deleted" and ann.data("GET", "/uploads") == []
        ann.rest("GET", f"/files/{message}", expect=404, allow_redirects=False)
        assert message in names("quarantine") and message not in names("files")
        clean = form(ann, room, b"clean", "a.txt", "text/plain").json()["Data"]["ID"]
        theirs.wait(lambda frame: frame["Type"] == "new_message" and frame["Data"]["ID"] == clean)
        assert theirs.count(lambda frame: (frame.get("Data") or {}).get("ID") == message) == 0
    assert bytes_of(bob, clean).content == b"clean"


def test_without_its_scanner_nothing_is_taken(ann, room, tmp_path, reconfigure):
    reconfigure("fcgi-api", CLAMD_ADDRESS=f"unix:{tmp_path}/nobody.sock")
    answer = form(ann, room, b"clean", "a.txt", "text/plain")
    assert answer.status_code == 503 and answer.json()["Error"]["Code"] == "unavailable"
