"""Measures claims and writes the page: `python -m benchmarks.reproductions [ID]…`."""

import argparse
import sys
import time
import warnings

import ensemble as ens
from ensemble.console import console, say
from ensemble.progress import ProgressShow

from .base import AbstractClaim, verdict
from .measuring import FOLDER, keep, kept, measured, rows_of, state
from .page import PAGE, page, with_interval
from .registry import CLAIMS


def main() -> None:
    known = {claim.id: claim for claim in CLAIMS}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproductions", description=__doc__)
    parser.add_argument("ids", nargs="*", metavar="ID", help=f"claims to measure; all by default: {', '.join(known)}")
    parser.add_argument("--page", action="store_true", help="only write the page from what was measured")
    parser.add_argument("--again", action="store_true", help="also what was measured on these very studies")
    given = parser.parse_args()
    for one in given.ids:
        if one not in known:
            parser.error(f"got {one!r}; the claims are {', '.join(known)}")
    warnings.simplefilter("ignore", ens.StudyWarning)  # of step sizes that are too large: what some claims are about
    failed = []
    for claim in [] if given.page else [known[one] for one in given.ids] or CLAIMS:
        if state(claim, kept().get(claim.id)) == "measured" and not (given.again or given.ids):
            say(f"{claim.id}: measured already")
            continue
        try:
            _measure(claim)
        except KeyboardInterrupt:
            say(f"interrupted in {claim.id}: what was run is kept in {FOLDER}, and the same command goes on")
            sys.exit(130)
        except Exception as error:  # one claim that fails is said, and keeps no other from being measured
            failed.append(claim.id)
            say(f"{claim.id}: {type(error).__name__}: {error}")
    PAGE.write_text(page(CLAIMS, kept()), encoding="utf-8")
    say(f"page: {PAGE}")
    if failed:
        say(f"not measured: {', '.join(failed)}")
        sys.exit(1)


def _measure(claim: AbstractClaim) -> None:
    say(f"{claim.id}: {claim.claim}")
    begun = time.monotonic()
    with ProgressShow(console) as show:
        found = measured(claim, FOLDER, show.update)
    keep(claim, found)
    published = claim.published()
    for row, values in rows_of(found).items():
        says = verdict(published[row], values)
        say(f"  {row}: published {published[row].says}, measured {with_interval(values)}: {says}")
    say(f"  {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
