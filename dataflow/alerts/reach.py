"""Which addresses webhooks may lead to.

Lives here: the rule, as a value made from the setting ``alerts_allow_private``.
Does not live here: what an address is (``hosts.py``), what a name resolves to
(``resolving.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Self

from dataflow.alerts.hosts import Address, Place, kind_of, leads_to, why_not_public
from dataflow.exceptions import ChannelRefused

_WAY_OUT = ("Where it is meant, allow it in the settings: alerts_allow_private = [\"{}\"] "
            "(DATAFLOW_ALERTS_ALLOW_PRIVATE={}).")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which of the addresses that are not public may be connected to.

    Parameters
    ----------
    everything
        All of them, spelled in any way.
    hosts
        Names, in lower case, that may resolve to any address.
    networks
        Addresses and networks.
    """

    everything: bool = False
    hosts: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, setting: bool | tuple[str, ...]) -> Self:
        """Return what the setting says: ``True``, or hosts, addresses and networks."""
        if isinstance(setting, bool):
            return cls(everything=setting)
        hosts: set[str] = set()
        networks: list[IPv4Network | IPv6Network] = []
        for each in setting:
            try:
                networks.append(ip_network(each))
            except ValueError:
                hosts.add(each.lower().strip("[]"))
        return cls(hosts=frozenset(hosts), networks=tuple(networks))

    def allows(self, address: Address, host: str = "") -> bool:
        """Tell whether an address, which a host resolved to, may be connected to."""
        return self.everything or host in self.hosts or all(
            kind_of(one) is None or self._lists(one) for one in leads_to(address))

    def _lists(self, address: Address) -> bool:
        return any(address in network for network in self.networks
                   if network.version == address.version)

    def check_spelling(self, place: Place, channel: str) -> None:
        """Refuse an address that is spelled as people do not. Raises ChannelRefused."""
        if place.odd and not self.everything:
            raise ChannelRefused(
                f"{channel} leads to {place.address}, which is spelled in another way there. "
                "Write the address itself.", channel=channel, reason="spelling")

    def check(self, address: Address, place: Place, channel: str) -> None:
        """Refuse an address that may not be connected to. Raises ChannelRefused."""
        if self.allows(address, place.host):
            return
        what = why_not_public(address)
        raise ChannelRefused(
            f"{channel} leads to {address}, a {what} address, to which no webhook may go. "
            + _WAY_OUT.format(place.host, place.host), channel=channel, reason="address")
