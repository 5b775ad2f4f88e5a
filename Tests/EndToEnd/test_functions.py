"""`deploy/test/functions` finds functions of more than 40 lines."""

import subprocess

import pytest

from conftest import CHECKOUT


def functions(folder):
    done = subprocess.run([CHECKOUT / "deploy/test/functions", folder], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout


def source(begin, lines):
    """A declaration of so many lines inside another one, between two short ones."""
    body = "        work()\n" * (lines - 2 - begin.count("\n"))
    return f"struct A {{\n    func short() {{ work() }}\n\n    {begin}\n{body}    }}\n\n    func other() {{\n        work()\n    }}\n}}\n"


@pytest.mark.parametrize("begin", [
    "func long() {", "public static func long<A>(_ a: A) throws(B) -> C {", "init(_ a: Int) {", "deinit {",
    "private var long: Int {", "@discardableResult func long() -> Int {", "mutating func long(\n        a: Int\n    ) {"])
def test_a_long_function_is_found(begin, tmp_path):
    file = tmp_path / "Sources/a/A.swift"
    file.parent.mkdir(parents=True)
    file.write_text(source(begin, 40))
    assert functions(tmp_path) == (0, "")
    file.write_text(source(begin, 41))
    assert functions(tmp_path) == (1, "Sources/a/A.swift:4: a function of 41 lines, over 40\n")
