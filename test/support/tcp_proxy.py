# SPDX-License-Identifier: Apache-2.0
"""
A network between a client and a server that a test can cut and stall.

"""

from __future__ import annotations

from contextlib import suppress
import socket
import threading


class TcpProxy:
    """
    Forwards connections to a port of this machine.

    Parameters
    ----------
    target_port : int
        Where to.

    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port = int(self._listener.getsockname()[1])
        self._flows = threading.Event()
        self._flows.set()
        self._is_cut = False
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """
        Break all connections, and refuse new ones.

        """
        with self._lock:
            self._is_cut = True
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._connections.clear()

    def stall(self) -> None:
        """
        Keep the connections, and let nothing through.

        """
        self._flows.clear()

    def open(self) -> None:
        """
        Let everything through again.

        """
        with self._lock:
            self._is_cut = False
        self._flows.set()

    def close(self) -> None:
        """
        End it.

        """
        self.cut()
        self._flows.set()
        # A thread that waits in accept would hold the port.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._is_cut:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(('127.0.0.1', self._target_port), 5.0)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                self._connections += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
