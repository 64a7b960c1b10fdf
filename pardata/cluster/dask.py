"""``engine="dask"``, and the same with options."""

from __future__ import annotations

from typing import Any

from pardata.cluster.engine import ClusterEngine, Connection, check_listens
from pardata.errors import ConfigError, MissingExtraError
from pardata.process.capacity import loading

_START = (
    "there is no Dask client, and pardata starts no cluster. Two lines do:\n"
    "    from distributed import Client\n"
    "    client = Client()  # a cluster on this machine; Client('tcp://scheduler:8786') for one that is there"
)


class Dask(ClusterEngine):
    """The engine of a run on a Dask cluster: ``stream.run(engine=pardata.cluster.Dask(...))``.

    ``engine="dask"`` stands for one without arguments.

    Parameters
    ----------
    address : str or distributed.Client, optional
        Of the scheduler, as "tcp://scheduler:8786"; default: the current client.
    nodes : int, at least 1, optional
        How many hosts are used; there must be as many at the start. Default: all.
    memory_limit : int, bytes, or a size such as "2GB", optional
        Of shared memory on each node; default: half of the memory limit of its Dask worker.

    Raises
    ------
    MissingExtraError
        Dask's `distributed` is not installed.
    ConfigError
        A wrong argument. When the stream is run: there is no client; or a stage cannot be sent to other machines, or
        run on one of them. Nothing was started then.

    Examples
    --------
    >>> pardata.cluster.Dask("tcp://scheduler:8786", nodes=4)
    Dask('tcp://scheduler:8786', nodes=4, memory_limit=None)
    """

    def connect(self) -> Connection:
        """Connect to the cluster."""
        try:
            with loading("a run on a Dask cluster"):
                from pardata.cluster.dask_port import DaskPort
        except ImportError as error:
            raise MissingExtraError('distributed is not installed: pip install "pardata[dask]"') from error

        client = self._client()
        close = client.close if isinstance(self._address, str) else None

        def new_port(islands: int) -> DaskPort:
            return DaskPort(client, self._nodes, self._memory_limit, islands)

        return Connection(new_port, close)

    def _client(self) -> Any:
        """Return the client. One for an address is made here: whoever gets it closes it."""
        from distributed import Client
        from distributed.comm import parse_address, parse_host_port

        if isinstance(self._address, str):
            try:
                scheme, place = parse_address(self._address)
                if scheme in ("tcp", "tls"):
                    check_listens(*parse_host_port(place))
                return Client(self._address, set_as_default=False)
            except (OSError, ValueError) as error:
                raise ConfigError(f"there is no Dask scheduler at {self._address!r}: {error}") from error
        try:
            client = Client.current() if self._address is None else self._address
        except ValueError:
            raise ConfigError(_START) from None
        if not isinstance(client, Client):
            raise ConfigError(f"Dask: address must be a str or a distributed.Client, not {client!r}")
        if client.asynchronous:
            raise ConfigError("the Dask client is asynchronous: give one that is not, Client(address)")
        if client.status != "running":
            raise ConfigError(f"the Dask client is {client.status}: it has to be connected to its scheduler")
        return client
