"""Stands in for `uda4inst inspect ... --events`: `python inspect_stand_in.py inspect WHAT ...`.

It says what the real one says, without FiftyOne, and ends when its standard input does. WHAT is
"open", "slow" (never done), "wrong" (a mistake of the user), "crash", "stubborn" (does not end), or
"dies" (opens, then ends by itself).
"""

from __future__ import annotations

import json
import sys
import time


def say(event: str, **facts: object) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


def main() -> None:
    command, what, *_, last = sys.argv[1:]
    assert (command, last) == ("inspect", "--events"), sys.argv
    print("a word of some library", flush=True)
    if what == "wrong":
        print("a warning", file=sys.stderr)
        print("error: root must be an UrbanSyn folder, got none.\nName it.", file=sys.stderr)
        sys.exit(2)
    if what == "crash":
        raise ZeroDivisionError("not foreseen")
    say("building", doing="Adding images", done=1, total=4)
    if what != "slow":
        say("building", doing="Adding images", done=4, total=4)
        page = "http://127.0.0.1:5999/datasets/data-x"
        views = [
            {"name": name, "images": images, "address": f"{page}?view={number}"}
            for number, (name, images) in enumerate(
                [("source", 4), ("ap_demo: misses of car", 2), ("images without objects", 0)]
            )
        ]
        say("open", data_set="data-x", title="x", images=4, address=page, views=views)
    if what == "dies":
        return
    sys.stdin.read()
    if what == "stubborn":
        time.sleep(60)


if __name__ == "__main__":
    main()
