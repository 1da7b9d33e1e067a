"""Two processes over gloo that train one task after the other: `python two_ranks.py PLACE...`; see `hand_over`.

They are forked, so that libraries are imported once. torchrun, failures and the end of the caller: tests/slow.
"""

import os
import socket
import sys
from pathlib import Path

from clipcap_lib.distributed.ranks import work

PLACES = [Path(name) for name in sys.argv[1:]]
with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
child = os.fork()
os.environ["RANK"] = "0" if child else "1"
for place in PLACES:
    work(place)
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
