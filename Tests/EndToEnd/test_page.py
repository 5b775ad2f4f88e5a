"""The page at / of `make run`: its files and their headers, without a browser."""

import re

import requests
from conftest import CHECKOUT


def test_the_page_is_whole_and_strict(base_url):
    page = requests.get(f"{base_url}/", timeout=10)
    assert page.status_code == 200
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
    assert not re.search(r"<style|<script(?![^>]*\ssrc=)|\son\w+=|\sstyle=", page.text)
    for name in ("page.js", "page.css", "chat.js", "chat-room.js", "push.js", "push-worker.js", "app.webmanifest"):
        answer = requests.get(f"{base_url}/{name}", timeout=10)
        assert answer.status_code == 200 and answer.headers["Content-Security-Policy"] == policy, name
    assert requests.get(f"{base_url}/chat.js", timeout=10).text == (CHECKOUT / "clients/js/chat.js").read_text()
    assert requests.get(f"{base_url}/page.html", timeout=10).status_code == 404


def test_its_two_people_share_a_room(base_url):
    demo = requests.get(f"{base_url}/demo.json", timeout=10).json()
    for user in demo["Users"]:
        room = requests.get(f"{base_url}/api/v1/rooms/{demo['RoomID']}", timeout=10, headers={"Authorization": f"Bearer {user['Token']}"})
        assert room.status_code == 200 and room.json()["Data"]["MemberCount"] == 2
