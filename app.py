"""Opens the UDA4Inst workbench: `python app.py [--port 7860] [--runs runs] [--data DIR]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from workbench.app import serve
from workbench.services import make_services


def main() -> None:
    """Parse the arguments, make the services and serve until interrupted."""
    parser = argparse.ArgumentParser(description="UDA4Inst workbench")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument(
        "--data", type=Path, default=Path("data/toystreets"), help="folder of ToyStreets"
    )
    parser.add_argument("--suites", type=Path, default=Path("suites"), help="folder of the suites")
    options = parser.parse_args()
    services = make_services(options.runs, data_root=options.data, suites_root=options.suites)
    serve(services, host=options.host, port=options.port)


if __name__ == "__main__":
    main()
