"""Opens the UDA4Inst workbench: `python app.py [--port 7860] [--runs runs] [--data DIR]`."""

from __future__ import annotations

from uda4inst.errors import UserError
from workbench.app import serve
from workbench.gate.options import exposure_of, make_parser
from workbench.services import make_services


def main() -> None:
    """Parse the arguments, make the services and serve until interrupted."""
    parser = make_parser()
    options = parser.parse_args()
    try:
        exposure = exposure_of(options)
        services = make_services(options.runs, data_root=options.data, suites_root=options.suites)
        serve(services, exposure)
    except UserError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
