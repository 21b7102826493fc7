"""Every option that a bundle knows: llama.cpp's server options (of the pinned version) and our own. Data only.

Each option stands in exactly one place: passed on to llama.cpp's core, done by us (HTTP is ours, and so is everything
about which model runs), or refused with a reason. A test compares this with the list that the native library reports,
so that an option of a new llama.cpp cannot slip through.

One line is one option: its spellings, then after " / " the spellings that say no. Blocks are named for what follows
the option: FLAGS nothing, INTEGERS one whole number, NUMBERS one number, TEXTS one text, PAIRS two texts.
"""

from __future__ import annotations

# --- passed on to the core

CORE_FLAGS = """
--swa-full
--perf / --no-perf
-e --escape / --no-escape
-kvo --kv-offload / -nkvo --no-kv-offload
--repack / -nr --no-repack
--no-host
-cmoe --cpu-moe
--check-tensors
--op-offload / --no-op-offload
--log-disable
--log-jsonl / --no-log-jsonl
-v --verbose --log-verbose
--log-prefix / --no-log-prefix
--log-timestamps / --no-log-timestamps
--ignore-eos
-bs --backend-sampling
-kvu --kv-unified / -no-kvu --no-kv-unified
--cache-idle-slots / --no-cache-idle-slots
--context-shift / --no-context-shift
-sp --special
--warmup / --no-warmup
--spm-infill
-cb --cont-batching / -nocb --no-cont-batching
--mmproj-auto / --no-mmproj --no-mmproj-auto
--mmproj-offload / --no-mmproj-offload
--embedding --embeddings
--rerank --reranking
--cache-prompt / --no-cache-prompt
--metrics
--props
--slots / --no-slots
--jinja / --no-jinja
--reasoning-preserve / --no-reasoning-preserve
--skip-chat-parsing / --no-skip-chat-parsing
--prefill-assistant / --no-prefill-assistant
--lora-init-without-apply
--spec-default
--spec-draft-cpu-moe -cmoed --cpu-moe-draft
--spec-draft-backend-sampling / --no-spec-draft-backend-sampling
"""

CORE_INTEGERS = """
-t --threads
-tb --threads-batch
--prio
--poll
--cpu-strict
--cpu-strict-batch
--prio-batch
--poll-batch
-c --ctx-size
-n --predict --n-predict
-b --batch-size
-ub --ubatch-size
--keep
--yarn-orig-ctx
-ncmoe --n-cpu-moe
-ncffn --n-cpu-ffn
-mg --main-gpu
-fitc --fit-ctx
-lv --verbosity --log-verbosity
-s --seed
--top-k
--repeat-last-n
--dry-allowed-length
--dry-penalty-last-n
--mirostat
--kv-unified-per-slot
-ctxcp --ctx-checkpoints --swa-checkpoints
-cms --checkpoint-min-step
-cram --cache-ram
-np --parallel
--image-min-tokens
--image-max-tokens
--mtmd-batch-max-tokens
--video-timestamp-interval
--embd-normalize
--sse-ping-interval
--cache-reuse
--reasoning-budget
--sleep-idle-seconds
--spec-draft-threads -td --threads-draft
--spec-draft-threads-batch -tbd --threads-batch-draft
--spec-draft-cpu-strict --cpu-strict-draft
--spec-draft-prio --prio-draft
--spec-draft-poll --poll-draft
--spec-draft-cpu-strict-batch --cpu-strict-batch-draft
--spec-draft-prio-batch --prio-batch-draft
--spec-draft-poll-batch --poll-batch-draft
--spec-draft-n-cpu-moe --spec-draft-ncmoe -ncmoed --n-cpu-moe-draft
--spec-draft-n-max
--spec-draft-n-min
--spec-ngram-mod-n-min
--spec-ngram-mod-n-max
--spec-ngram-mod-n-match
--spec-ngram-simple-size-n
--spec-ngram-simple-size-m
--spec-ngram-simple-min-hits
--spec-ngram-map-k-size-n
--spec-ngram-map-k-size-m
--spec-ngram-map-k-min-hits
--spec-ngram-map-k4v-size-n
--spec-ngram-map-k4v-size-m
--spec-ngram-map-k4v-min-hits
"""

CORE_NUMBERS = """
--rope-scale
--rope-freq-base
--rope-freq-scale
--yarn-ext-factor
--yarn-attn-factor
--yarn-beta-slow
--yarn-beta-fast
--temp --temperature
--top-p
--min-p
--top-nsigma --top-n-sigma
--xtc-probability
--xtc-threshold
--typical --typical-p
--repeat-penalty
--presence-penalty
--frequency-penalty
--dry-multiplier
--dry-base
--adaptive-target
--adaptive-decay
--dynatemp-range
--dynatemp-exp
--mirostat-lr
--mirostat-ent
--video-fps
-sps --slot-prompt-similarity
--spec-synth-len
--spec-draft-p-split --draft-p-split
--spec-draft-p-min --draft-p-min
"""

# What among these reads or writes files (--lora, --log-file, --slot-save-path, --media-path, …) does so only where the
# user points.
CORE_TEXTS = """
-C --cpu-mask
-Cr --cpu-range
-Cb --cpu-mask-batch
-Crb --cpu-range-batch
-fa --flash-attn
--rope-scaling
-ctk --cache-type-k
-ctv --cache-type-v
-dt --defrag-thold
-lm --load-mode
-lzm --lazy-mode
--numa
-dev --device
-ot --override-tensor
-ngl --gpu-layers --n-gpu-layers
-sm --split-mode
-ts --tensor-split
-fit --fit
-fitt --fit-target
--override-kv
--lora
--lora-scaled
--control-vector
--control-vector-scaled
--log-file
--log-colors
--log-prompts-dir
--samplers
--sampler-seq --sampling-seq
--dry-sequence-breaker
-l --logit-bias
--grammar
--grammar-file
-j --json-schema
-jf --json-schema-file
-lcs --lookup-cache-static
-lcd --lookup-cache-dynamic
-r --reverse-prompt
--pooling
-mm --mmproj
-mmdev --mmproj-device
--video-ffmpeg-dir
-a --alias
--tags
--ui-config --webui-config
--ui-config-file --webui-config-file
--chat-template-kwargs
--slot-save-path
--media-path
--reasoning-format
-rea --reasoning
--reasoning-effort
--reasoning-budget-message
--chat-template
--chat-template-file
--spec-draft-type-k -ctkd --cache-type-k-draft
--spec-draft-type-v -ctvd --cache-type-v-draft
--spec-draft-cpu-mask -Cd --cpu-mask-draft
--spec-draft-cpu-range -Crd --cpu-range-draft
--spec-draft-cpu-mask-batch -Cbd --cpu-mask-batch-draft
--spec-draft-override-tensor -otd --override-tensor-draft
--spec-synth-rates
--spec-draft-device -devd --device-draft
--spec-draft-ngl -ngld --gpu-layers-draft --n-gpu-layers-draft
--spec-draft-model -md --model-draft
--spec-type
"""

CORE_PAIRS = """
--control-vector-layer-range
"""

# Given twice, both count; of every other option the last one wins.
ADDING_UP = """
-l --logit-bias -r --reverse-prompt -a --alias --tags -ot --override-tensor --override-kv --lora --lora-scaled
--control-vector --control-vector-scaled --dry-sequence-breaker --chat-template-kwargs --spec-type
--spec-draft-override-tensor --api-key --api-key-file --allow-origin
-cmoe --cpu-moe -ncmoe --n-cpu-moe -ncffn --n-cpu-ffn
"""

# --- done by us

OURS_FLAGS = """
-h --help --usage
--version
--reuse-port
--cors-credentials / --no-cors-credentials
--ui --webui / --no-ui --no-webui
"""

OURS_INTEGERS = """
--port
-to --timeout
--threads-http
"""

OURS_TEXTS = """
-m --model
--host
--path
--cors-origins
--cors-methods
--cors-headers
--api-prefix
--api-key
--api-key-file
--ssl-key-file
--ssl-cert-file
--rpc
"""

# Not llama.cpp's: these exist in a bundle only.
BUNDLE_FLAGS = """
--server
--chat
--doctor
--json
--verify
--licenses
--cache-clear
--no-browser
--no-sandbox
--bench
--compare
--calibrate / --no-calibrate
--local-copy / --no-local-copy
--history / --no-history
--rpc-worker
--no-auth
"""

BUNDLE_INTEGERS = """
--gpu-timeout
--queue
--max-tokens
--max-body-mb
--access-log-mb
"""

BUNDLE_NUMBERS = """
--idle-exit
--max-seconds
--drain-seconds
"""

BUNDLE_TEXTS = """
-p --prompt
--use
-sys --system-prompt
--extract
--require-signature
--public-key
--kernel
--gpu
--allow-origin
--rpc-secret-file
--access-log
--otlp-endpoint
"""

# --- refused: (why, what to do instead), the flags, the options that take one value

REFUSED: tuple[tuple[str, str, str], ...] = (
    (
        "it downloads a model, and a bundle opens no connection; download the file and run `solofile build` on it",
        "--embd-gemma-default\n--fim-qwen-1.5b-default\n--fim-qwen-3b-default\n--fim-qwen-7b-default\n--fim-qwen-7b-spec\n"
        "--fim-qwen-14b-spec\n--fim-qwen-30b-default\n--gpt-oss-20b-default\n--gpt-oss-120b-default\n--vision-gemma-4b-default\n"
        "--vision-gemma-12b-default",
        "-hf -hfr --hf-repo\n-hff --hf-file\n-mu --model-url\n-dr --docker-repo",
    ),
    (
        "it downloads a draft model, and a bundle opens no connection; download the file and name it with "
        "--spec-draft-model",
        "",
        "--spec-draft-hf -hfd -hfrd --hf-repo-draft",
    ),
    (
        "it downloads a projector, and a bundle opens no connection; download the file and name it with --mmproj",
        "",
        "-mmu --mmproj-url",
    ),
    ("it is for downloads, and a bundle opens no connection; leave it out", "", "-hft --hf-token"),
    ("a bundle is always offline; leave it out", "--offline", ""),
    ("a bundle has no download cache; --doctor shows what the bundle holds", "-cl --cache-list", ""),
    ("it prints a script for llama.cpp's own programs; --help lists the options of this one", "--completion-bash", ""),
    ("--doctor lists what this machine can compute with; use that", "--list-devices", ""),
    (
        "it would let whoever reaches the port run programs and read files on this machine; give your client its tools "
        "instead",
        "-ag --agent",
        "--tools\n--tools-runtime",
    ),
    (
        "it would start programs or open connections for whoever reaches the port; give your client its MCP servers "
        "instead",
        "--ui-mcp-proxy --webui-mcp-proxy",
        "--mcp-servers-config\n--mcp-servers-json",
    ),
    (
        "it is for llama.cpp's router of several servers, and a bundle runs one; --use names one of its models",
        "--models-autoload / --no-models-autoload",
        "--models-dir\n--models-preset\n--models-max",
    ),
    (
        "llama.cpp removed it; use --spec-draft-n-max or --spec-ngram-mod-n-max",
        "",
        "--draft --draft-n --draft-max",
    ),
    ("llama.cpp removed it; use --spec-draft-n-min or --spec-ngram-mod-n-min", "", "--draft-min --draft-n-min"),
    (
        "llama.cpp removed it; use --spec-ngram-simple-size-n, --spec-ngram-map-k-size-n or --spec-ngram-mod-n-match",
        "",
        "--spec-ngram-size-n",
    ),
    ("llama.cpp removed it; use --spec-ngram-simple-size-m or --spec-ngram-map-k-size-m", "", "--spec-ngram-size-m"),
    (
        "llama.cpp removed it; use --spec-ngram-simple-min-hits or --spec-ngram-map-k-min-hits",
        "",
        "--spec-ngram-min-hits",
    ),
)

# The spellings that say no to what is refused ask for what is so anyway: they are taken and do nothing.
IGNORED_FLAGS = """
-no-ag --no-agent
--no-ui-mcp-proxy --no-webui-mcp-proxy
"""
