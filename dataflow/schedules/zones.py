"""Time zones by name.

Lives here: the way from a name such as ``Europe/Berlin`` to its zone, and the
refusal of names that another machine may read otherwise. Does not live here:
arithmetic with a zone (``wall_clock.py``).
"""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dataflow.exceptions import ScheduleError

_NOT_PORTABLE = ("posix/", "right/")  # files of some Linux systems only; right/ counts leap seconds
_NO_ZONES = {"localtime", "posixrules", "Factory", "leapseconds", "tzdata.zi"}


def zone_of(timezone: object) -> ZoneInfo:
    """Return the zone of that name.

    Parameters
    ----------
    timezone
        A name of the IANA database, a ZoneInfo made from one, or None for UTC.

    Raises
    ------
    ScheduleError
        There is no such zone; the text has the nearest known names.
    """
    name = timezone.key if isinstance(timezone, ZoneInfo) else timezone
    if name is None:
        name = "UTC"
    if not isinstance(name, str):
        raise ScheduleError(
            f"timezone {timezone!r} is not the name of a time zone: give one such as "
            f"'Europe/Berlin' or 'UTC'", field="timezone", value=timezone)
    if name and name not in _NO_ZONES and not name.startswith(_NOT_PORTABLE):
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder
            pass
    raise ScheduleError(f"timezone {name!r} is not known: {_nearest(name)}",
                        field="timezone", value=name)


def _nearest(name: str) -> str:
    """Return what to write instead of an unknown name."""
    from difflib import get_close_matches
    from zoneinfo import available_timezones

    known = {zone.casefold(): zone for zone in sorted(available_timezones(), reverse=True)}
    plain = name.strip().casefold().replace(" ", "_")
    cities = [zone for zone in known.values() if zone.casefold().rpartition("/")[2] == plain]
    near = cities or [known[each] for each in get_close_matches(plain, list(known), 3, 0.7)]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return "give a name of the IANA database such as 'Europe/Berlin' or 'UTC'"
