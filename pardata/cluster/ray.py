"""``engine="ray"``, and the same with options."""

from __future__ import annotations

from collections.abc import Callable

from pardata.cluster.engine import ClusterEngine, Connection, check_listens
from pardata.errors import ConfigError, MissingExtraError
from pardata.process.capacity import loading

_START = (
    "Ray is not initialised, and pardata starts no cluster. Two lines do:\n"
    "    import ray\n"
    '    ray.init()  # a cluster on this machine; ray.init(address="10.0.0.1:6379") for one that is there'
)
_CLIENT = (
    "Ray Client (ray://) hands calls on through one process of the cluster, and has no object store here. Run the "
    "script on a node of it, as `ray job submit` does, or make this machine one, `ray start --address=10.0.0.1:6379`"
)


class Ray(ClusterEngine):
    """The engine of a run on a Ray cluster: ``stream.run(engine=pardata.cluster.Ray(...))``.

    ``engine="ray"`` stands for one without arguments.

    Parameters
    ----------
    address : str, optional
        Of the cluster, as "10.0.0.1:6379"; default: the cluster that Ray is initialised with. A process has one, so
        with an address Ray is not to be initialised: it is, until the end of the run.
    nodes : int, at least 1, optional
        How many nodes are used; there must be as many at the start. Default: all that have a CPU for Ray.
    memory_limit : int, bytes, or a size such as "2GB", optional
        Of shared memory on each node, which Ray is told to keep free: `memory=` of an actor. Default: half of the
        node's `memory` for Ray, which is not told.

    Raises
    ------
    MissingExtraError
        `ray` is not installed.
    ConfigError
        A wrong argument. When the stream is run: Ray is not initialised; or a stage cannot be sent to other machines,
        or run on one of them. Nothing was started then.

    Examples
    --------
    >>> pardata.cluster.Ray(nodes=4, memory_limit="20GB")
    Ray(None, nodes=4, memory_limit=20000000000)
    """

    def connect(self) -> Connection:
        """Connect to the cluster."""
        try:
            with loading("a run on a Ray cluster"):
                from pardata.cluster.ray_port import RayPort
        except ImportError as error:
            raise MissingExtraError('ray is not installed: pip install "pardata[ray]"') from error

        close = self._attach()
        return Connection(lambda islands: RayPort(self._nodes, self._memory_limit, islands), close)

    def _attach(self) -> Callable[[], object] | None:
        """Make sure that Ray is initialised; return what ends that, if it was done here."""
        import ray
        from ray.util.client import ray as ray_client

        if self._address is None:
            if not ray.is_initialized():
                raise ConfigError(_START)
            if ray_client.is_connected():
                raise ConfigError(_CLIENT)
            return None
        if not isinstance(self._address, str) or self._address == "local":
            raise ConfigError(f"Ray: address must be a str, that of a cluster which is there, not {self._address!r}")
        check_there(self._address)
        if ray.is_initialized():
            raise ConfigError("Ray is initialised in this process, and a process has one cluster: leave address out")
        try:
            ray.init(address=self._address, log_to_driver=False, configure_logging=False)
        except Exception as error:
            raise ConfigError(f"there is no Ray cluster at {self._address!r}: {error}") from error
        close: Callable[[], object] = ray.shutdown
        return close


def check_there(address: str) -> None:
    """Raise ConfigError if nobody listens at an address, where Ray would try for minutes; or if it is Ray Client's."""
    if address.startswith("ray://"):
        raise ConfigError(_CLIENT)
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():  # a name, as "auto"
        return
    try:
        check_listens(host, int(port))
    except OSError as error:
        raise ConfigError(f"there is no Ray cluster at {address!r}: {error}") from error
