"""llama.cpp's own server on a free port of loopback, from its prebuilt Python wheel.

Run it as `python tests/upstreams/servers/llama_server.py MODEL.gguf`; it needs xllamacpp.
"""

import signal
import sys

import xllamacpp


def serve(model, slots=4):
    """Serves until the process is ended; its log says where."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.n_ctx = 512 * slots
    parameters.n_parallel = slots
    parameters.cpuparams.n_threads = 1
    parameters.port = 0
    _server = xllamacpp.Server(parameters)  # serves as long as it is held on to
    signal.pause()


if __name__ == "__main__":
    serve(sys.argv[1])
