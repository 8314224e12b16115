"""The hosts' network: a bridge in a network namespace of its own.

So runs see neither each other nor the machine's network. Containers join by a veth pair, virtual
machines by a tap."""

import subprocess


def _tool(*words: str, check: bool = True) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"`{' '.join(words)}` failed: {done.stderr.strip()}")
    return done.stdout


def mac(number: int) -> str:
    """The hardware address of a host, of whatever kind."""
    return f"52:54:00:12:01:{number:02x}"


class Network:
    """One bridge; host N has 192.168.1.N at its eth1 and the bridge's port veN."""

    def __init__(self, tag: str) -> None:
        self.tag = tag

    def _ip(self, *words: str) -> None:
        _tool("ip", "-n", self.tag, *words)

    def create(self) -> None:
        """Makes the namespace with its bridge."""
        _tool("ip", "netns", "add", self.tag)
        self._ip("link", "set", "lo", "up")
        self._ip("link", "add", "br0", "type", "bridge")
        self._ip("link", "set", "br0", "up")

    def inside(self) -> list[str]:
        """What a command begins with to run beside the bridge."""
        return ["ip", "netns", "exec", self.tag]

    def add_tap(self, number: int) -> str:
        """A tap for a virtual machine."""
        self._ip("tuntap", "add", f"ve{number}", "mode", "tap")
        self._ip("link", "set", f"ve{number}", "master", "br0", "up")
        return f"ve{number}"

    def host_namespace(self, number: int) -> str:
        """The namespace of a container."""
        return f"{self.tag}-{number}"

    def add_container(self, number: int) -> None:
        """A namespace for a container, with its address."""
        inner = self.host_namespace(number)
        _tool("ip", "netns", "add", inner)
        pair = ["type", "veth", "peer", "name", "eth1", "netns", inner]
        self._ip("link", "add", f"ve{number}", *pair)
        self._ip("link", "set", f"ve{number}", "master", "br0", "up")
        for words in (
            ["link", "set", "lo", "up"],
            # The same after a crash, or the others go on sending to the dead one.
            ["link", "set", "eth1", "address", mac(number)],
            ["addr", "add", f"192.168.1.{number}/24", "dev", "eth1"],
            ["link", "set", "eth1", "up"],
        ):
            _tool("ip", "-n", inner, *words)

    def remove_container(self, number: int) -> None:
        """Ends a container's network without a word to anyone, as a power cut does."""
        self._ip("link", "del", f"ve{number}")
        _tool("ip", "netns", "del", self.host_namespace(number))

    def set_port(self, number: int, up: bool) -> None:
        """Takes a host's port of the bridge down, or up."""
        self._ip("link", "set", f"ve{number}", "up" if up else "down")

    def partition(self, some: list[int], others: list[int]) -> None:
        """Drops what these hosts send each other; all other traffic goes on."""
        rules = ["add table bridge part"]
        rules.append("add chain bridge part cut { type filter hook forward priority 0; }")
        for one in some:
            for other in others:
                rules.append(f"add rule bridge part cut iifname ve{one} oifname ve{other} drop")
                rules.append(f"add rule bridge part cut iifname ve{other} oifname ve{one} drop")
        _tool(*self.inside(), "nft", "\n".join(rules))

    def heal(self) -> None:
        """Ends all partitions."""
        _tool(*self.inside(), "nft", "delete table bridge part", check=False)

    def remove(self) -> None:
        """Removes the namespaces of this tag; their links go with them."""
        for line in _tool("ip", "netns", "list", check=False).splitlines():
            name = line.split()[0]
            if name == self.tag or name.startswith(f"{self.tag}-"):
                _tool("ip", "netns", "del", name, check=False)
