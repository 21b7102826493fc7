"""The mode --help: what a bundle can be asked to do, and where each option of llama.cpp's server stands."""

from __future__ import annotations

import textwrap

from solofile.runtime import options

WIDTH = 100

_USAGE = """\
Usage: {name} [MODE] [OPTION]…

{what}

Modes:
  (none)                 opens the chat page in the browser and prints where it is
  --server               the same without a browser: OpenAI's and Anthropic's API, and the page
  --chat                 chat in the terminal; /help lists its commands, Ctrl-C stops an answer, Ctrl-D leaves
  -p, --prompt TEXT      print one answer and nothing else; what is piped in is added to the question (-p - : it alone)
  --doctor [--json]      this machine, what is chosen for it and why, the memory it takes, the cache, the bundle
  --bench [--json]       tokens per second, at 1 and 4 streams; --compare: with each kernel and number of threads
  --rpc-worker           compute a part of a model for another machine, which names this one with --rpc
  --verify               compare every byte of this file with its manifest
                         --public-key KEY: and its manifest with the signature in FILE.minisig, by the launcher
  --extract DIR          write the parts of this file, the model among them, below DIR
  --licenses             whose work is in this file, and under which terms
  --cache-clear          remove what starts have unpacked and nobody uses
  --version, --help

Options:
  -sys, --system-prompt TEXT   the system prompt of --chat and -p, and of a new chat on the page; callers of the API
                         send their own
  -n, --predict N        tokens of an answer at most
  --use NAME             run this model of the bundle, if it holds several (also -m, --model); the default is the
                         largest that fits into the memory
  -v, --verbose          llama.cpp's log on standard error; -lv N for less of it
  --no-browser           do not open a browser
  --no-sandbox           run unconfined: a fault in the model's file or in what reads it may then read and change your
                         files, start programs and open connections
  --idle-exit MINUTES    after its last page was closed, a program that opened one ends by itself (10; 0: never)
  --no-history           --chat does not keep what is typed for the next time
  --require-signature KEY   start only if FILE.minisig beside this file was made for it with this key (minisign's)
  --kernel NAME          compute with this CPU variant; --doctor lists them
  --gpu NAME             compute on the GPU through this library of the bundle (vulkan, …), or on none; the default,
                         auto, takes it where it is faster. -dev and -ngl as in llama.cpp
  --gpu-timeout SECONDS  a GPU that takes longer for one batch counts as hung, and the CPU goes on (60; 0: never)
  --calibrate            measure again what is best here; --no-calibrate: neither measure nor use what was measured
  --local-copy           keep a copy of the model in the cache and read that from now on, for a bundle on a slow stick;
                         --no-local-copy: read the bundle all the same

Several machines, each with this file (a model too large for one):
  --rpc HOST:PORT        share the layers out over the workers there, with commas between several: by each one's memory,
                         or by -ngl (layers that leave this machine) and -ts (how these are shared out)
  --rpc-worker           be such a worker: --host and --port (50052) say where
  --rpc-secret-file FILE the secret that both sides have to know; also SOLOFILE_RPC_SECRET in the environment
  --no-auth              a worker for whoever reaches its port

Server:
  --host ADDRESS         listen there, with commas between several (default: 127.0.0.1, for this machine only)
  --port N               this port and no other (default: the page's of last time, else the first free one from 8080)
  --api-key KEY          ask callers for this key, with commas between several; also SOLOFILE_API_KEY in the environment
  --api-key-file FILE    the same, one key a line (or sha256: and its digest), behind it name=…, requests=N and tokens=N
                         a minute, concurrent=N at once
  --no-auth              needed where --host lets other machines in and there is no key
  --ssl-cert-file FILE, --ssl-key-file FILE   speak TLS
  --allow-origin ORIGIN  let pages of that site call the API; --cors-origins, --cors-methods, --cors-headers and
                         --cors-credentials as in llama.cpp
  --api-prefix PATH      serve below that path
  --path DIR             serve the files in DIR in place of the page; --no-ui: no page
  --timeout SECONDS, --threads-http N, --reuse-port   as in llama.cpp
  --queue N              requests that may wait for the model (256); the next one is told when to come again (429)
  --max-seconds N, --max-tokens N   what an answer may take, whatever its request says (0: any)
  --max-body-mb N        the largest body (100)
  --drain-seconds N      asked to end (SIGTERM), answers under way have so long to be finished (8; for the page 0); a
                         second signal ends them
  --access-log FILE      a line of JSON for each request; --access-log-mb N of it (100), and five older files beside it
  --otlp-endpoint URL    send traces (OTLP over HTTP) to a collector on this machine or its private network, by address
  /health, /ready, /metrics (Prometheus), /openapi.json   tell of the server

Options of llama.cpp's server, as it names them (https://github.com/ggml-org/llama.cpp, tools/server/README.md):
{core}

Environment: SOLOFILE_API_KEY, SOLOFILE_RPC_SECRET, SOLOFILE_CACHE (the folder for what is unpacked). Nothing else is
read.
"""


def text(name: str = "model.exe", title: str = "") -> str:
    """The help; ``name`` of the program, ``title`` of the model."""
    known = [option for option in options.every() if option.place == options.CORE]
    names = ", ".join(sorted((option.spellings[0] for option in known), key=lambda spelling: spelling.lstrip("-")))
    core = textwrap.fill(names, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    what = f"{title}, as a program: it answers in a browser, in a terminal and over HTTP." if title else (
        "A language model as a program: it answers in a browser, in a terminal and over HTTP."
    )  # fmt: skip
    return _USAGE.format(name=name, what=what, core=core)
