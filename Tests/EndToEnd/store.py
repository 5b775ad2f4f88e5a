"""A look into the S3 store of the stack under test, past its API: what lies there, finished or not."""

import json
import os
from pathlib import Path

import requests
from client import make_token
from conftest import read_settings


def names(folder):
    """The last parts of the keys below a folder of the bucket, from the store's own file browser. Empty when there is none."""
    state = Path(os.environ["TEST_ENV_FILE"]).parent
    port = json.loads((state / "state.json").read_text())["ports"]["WEED_FILER"]
    settings = read_settings()
    token = make_token((Path(settings["RUN_DIR"]) / "weed.jwt").read_text(), "tests", 60)
    answer = requests.get(f"http://127.0.0.1:{port}/buckets/{settings['S3_BUCKET_NAME']}/{folder}/?limit=10000", timeout=30,
                          headers={"Accept": "application/json", "Authorization": f"Bearer {token}"})
    if answer.status_code == 404:
        return set()
    assert answer.status_code == 200, answer.text
    return {entry["FullPath"].rsplit("/", 1)[1] for entry in answer.json()["Entries"] or []}
