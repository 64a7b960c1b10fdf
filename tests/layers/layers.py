"""The layers of the package and its pure files: the one list, from which the tests and the docs take them."""

# A file imports only from its own layer and those before it. Packages of one layer do not know each other.
LAYERS = [
    ["errors"],
    ["process"],
    ["memory"],
    ["data"],
    ["modules"],
    ["codec"],
    ["channel"],
    ["queue"],
    ["runtime"],
    ["pool", "pipeline"],
    ["engines"],
    ["files"],
    ["lookup"],
]
TOP = [[""], ["__main__"]]  # pardata/__init__.py and __main__.py

# These decide and do not act: they open, start, wait for and measure nothing.
PURE = [
    "process.lifecycle",
    "process.transitions",
    "data.pages",
    "memory.layout",
    "memory.plain",
    "memory.sizes",
    "memory.named.lifecycle",
    "memory.named.list_layout",
    "modules.plain",
    "codec.access",
    "channel.order",
    "channel.takeover",
    "channel.window",
    "channel.words",
    "runtime.admission.policy",
    "runtime.report_page",
    "pipeline.lifecycle",
    "pipeline.plan.checks",
    "pipeline.plan.draw",
    "pipeline.plan.error_policy",
    "pipeline.plan.failures",
    "pipeline.plan.node",
    "pipeline.plan.numbers",
    "pipeline.plan.ordering",
    "pipeline.plan.plan",
    "pipeline.plan.sizing",
    "pipeline.plan.stage",
    "pipeline.plan.totals",
    "pipeline.programs.batch_size",
    "pool.jobs.chunking",
    "pool.lifecycle",
]
