"""What the dashboards in deploy/grafana show. Two rules for queries:

- several processes of kerf on a node tell of the same GPUs, and the exporter repeats the figures of a
  GPU for each pod that shares it: figures of GPUs are the greatest by node and GPU, and sums are made
  of those;
- nodes go by the label `node` in kerf's own metrics (the monitors' relabeling) and by `Hostname` in
  the exporter's (its own label); both are the node's name.
"""

from grafana import bars, board, graph, query, row, stat, table, text, thresholds, variable

NODE = "kerf-node", "GPU nodes"
GPU = "kerf-gpu", "GPUs"
POWER = "kerf-power", "GPU power"
SHARING = "kerf-sharing", "GPU sharing"
PARTITIONS = "kerf-partitions", "GPU partitions"
OTHERS = [(title, uid) for uid, title in (NODE, GPU, POWER, SHARING, PARTITIONS)]

ON_NODE = 'node=~"$node"'
ON_GPU = 'node=~"$node", gpu=~"$gpu"'
HOST = 'Hostname=~"$node", gpu=~"$gpu"'
OF_POD = 'node=~"$node", gpu=~"$gpu", namespace=~"$namespace", pod=~"$pod"'
BY_GPU = "{{node}} GPU {{gpu}}"
BY_HOST = "{{Hostname}} GPU {{gpu}}"
BY_POD = "{{namespace}}/{{pod}} ({{container}})"


def field(name):
    """A field of the exporter's, once a GPU."""
    return f"max by (Hostname, gpu, UUID) ({name}{{{HOST}}})"


def per_instance(name):
    """Memory: of a GPU, or the sum of its MIG instances."""
    return ("sum by (Hostname, gpu, UUID) (max by (Hostname, gpu, UUID, GPU_I_ID) "
            f"({name}{{{HOST}}}))")


def of_gpu(name, matchers=ON_GPU):
    """A metric of kerf's about GPUs, once a GPU."""
    return f"max by (node, gpu, uuid) ({name}{{{matchers}}})"


def of_pod(name):
    return f"sum by (namespace, pod, container) ({name}{{{OF_POD}}})"


def rate(name, matchers, what="$__rate_interval"):
    return f"rate({name}{{{matchers}}}[{what}])"


def increase(name, matchers, what="$__rate_interval"):
    return f"increase({name}{{{matchers}}}[{what}])"


def node_board():
    healthy = f'kerf_devices{{health="healthy", {ON_NODE}}}'
    panels = [
        row("Plugin health and restarts"),
        stat("Plugin health", "Ready: 1 when every process of kerf on every chosen node is. Failed and "
             "degraded: problems as /health lists them. No value: nothing is scraped.",
             [query(f"min(kerf_ready{{{ON_NODE}}})", "ready", instant=True),
              query(f'sum(kerf_problems{{severity="failed", {ON_NODE}}})', "failed", instant=True),
              query(f'sum(kerf_problems{{severity="degraded", {ON_NODE}}})', "degraded", instant=True)],
             width=6),
        stat("Nodes", "Nodes with an agent.", query(f"count(count by (node) (kerf_build_info{{{ON_NODE}}}))",
                                                    instant=True), width=3),
        stat("GPUs", "GPUs that the driver lists.",
             query(f"count(max by (uuid) (kerf_gpu_info{{{ON_NODE}}}))", instant=True), width=3),
        stat("GPUs out of service", "GPUs that are given to no new container.",
             query(f"sum(1 - {of_gpu('kerf_gpu_healthy', ON_NODE).replace('max', 'min', 1)})", instant=True),
             thresholds=thresholds(1, colors=("green", "red"))),
        stat("Restarts in 24 h", "Starts of kerf's processes after their first.",
             query(f"sum(changes(process_start_time_seconds{{{ON_NODE}}}[24h]) "
                   "and on (job, instance) kerf_build_info)", instant=True),
             thresholds=thresholds(1, 10)),
        stat("Slices held", "Devices that a container holds, and devices that may be given out.",
             [query(f"sum(kerf_replicas_allocated{{{ON_NODE}}})", "held", instant=True),
              query(f"sum({healthy})", "offered", instant=True)]),
        graph("Restarts", "When a process of kerf was started again.",
              query(f"changes(process_start_time_seconds{{{ON_NODE}}}[$__rate_interval]) "
                    "and on (job, instance) kerf_build_info", "{{node}} {{job}}"),
              interval="1m", decimals=0, min=0),
        graph("Driver and kubelet", "1 when the driver answers, and when every resource is registered "
              "with the kubelet.",
              [query(f'min by (node) (kerf_driver_state{{state="ready", {ON_NODE}}})', "driver {{node}}"),
               query(f"kerf_kubelet_connected{{{ON_NODE}}}", "kubelet {{node}}")],
              min=0, max=1, steps=True),
        table("Nodes", "Version of kerf, of the driver, and of the CUDA that it supports.",
              [query(f"max by (node, version) (kerf_build_info{{{ON_NODE}}})", table=True),
               query("max by (node, driver, cuda) (label_replace("
                     f'kerf_driver_info{{{ON_NODE}}}, "driver", "$1", "version", "(.*)"))', table=True)],
              {"node": "node", "version": "version", "driver": "driver", "cuda": "CUDA"}),
        table("Out of service", "GPUs and MIG devices that are given to no new container, and why. Empty "
              "while all is well.",
              query(f"max by (node, gpu, device, reason) (kerf_gpu_unhealthy{{{ON_NODE}}})", table=True),
              {"node": "node", "gpu": "GPU", "device": "device", "reason": "reason"}, width=12, height=7),
        graph("XIDs", "Errors that the driver reported, by number. 13, 31, 43, 45, 68 and 109 are caused "
              "by programs. Empty until the first one.",
              query(f"sum by (node, gpu, xid) (max by (node, gpu, uuid, xid) "
                    f"(increase(kerf_gpu_xids_total{{{ON_NODE}}}[$__rate_interval])))",
                    "{{node}} GPU {{gpu}} XID {{xid}}"), width=12, height=7, interval="1m", decimals=0),
        row("Allocation vs availability"),
        graph("Allocation vs availability", "Devices the kubelet may give out, devices that a container "
              "holds, and devices out of order.",
              [query(f"sum by (resource) ({healthy})", "available {{resource}}"),
               query(f"sum by (resource) (kerf_replicas_allocated{{{ON_NODE}}})", "allocated {{resource}}"),
               query(f'sum by (resource) (kerf_devices{{health="unhealthy", {ON_NODE}}})',
                     "unhealthy {{resource}}")], width=12, decimals=0, min=0),
        graph("Allocated share of each node", "Devices that a container holds, of those the node has.",
              query(f"sum by (node) (kerf_replicas_allocated{{{ON_NODE}}}) "
                    f"/ sum by (node) (kerf_replicas{{{ON_NODE}}})", "{{node}}"),
              "percentunit", width=12, min=0, max=1),
        row("Calls"),
        graph("Allocate duration", "Time to answer the kubelet.",
              [query("histogram_quantile(0.5, sum by (le) "
                     f"({rate('kerf_allocate_duration_seconds_bucket', ON_NODE)}))", "median"),
               query("histogram_quantile(0.99, sum by (le) "
                     f"({rate('kerf_allocate_duration_seconds_bucket', ON_NODE)}))", "99 %")],
              "s", interval="1m", min=0),
        graph("Allocations and errors", "Calls of the kubelet, those refused, calls into the driver that "
              "failed, configurations refused.",
              [query(f"sum({increase('kerf_allocate_duration_seconds_count', ON_NODE)})", "Allocate"),
               query(f"sum by (code) ({increase('kerf_allocate_errors_total', ON_NODE)})", "refused: {{code}}"),
               query(f"sum by (code) ({increase('kerf_nvml_errors_total', ON_NODE)})", "driver: {{code}}"),
               query(f"sum({increase('kerf_config_reload_failures_total', ON_NODE)})", "configuration refused")],
              interval="1m", decimals=0, min=0),
        graph("Memory and CPU of kerf", "Of each of its processes.",
              [query(f"process_resident_memory_bytes{{{ON_NODE}}} and on (job, instance) kerf_build_info",
                     "memory {{node}} {{job}}"),
               query(f"{rate('process_cpu_seconds_total', ON_NODE)} and on (job, instance) kerf_build_info",
                     "CPU {{node}} {{job}}")], "bytes", interval="1m", min=0,
              overrides=[{"matcher": {"id": "byFrameRefID", "options": "B"},
                          "properties": [{"id": "unit", "value": "percentunit"},
                                         {"id": "custom.axisPlacement", "value": "right"}]}]),
    ]
    return board(*NODE, "kerf's processes, what they offer to the kubelet, and what is wrong.",
                 [variable("node", "Node", "kerf_build_info")], panels, OTHERS)


def gpu_board():
    events = 'clock_event!~"gpu_idle|clocks_setting|display_clocks"'
    panels = [
        stat("GPUs", "GPUs with metrics.", query(f"count({field('DCGM_FI_DEV_GPU_TEMP')})", instant=True)),
        stat("Busy", "How busy the GPUs are on the average. GPUs in MIG mode do not tell.",
             query(f"avg({field('DCGM_FI_DEV_GPU_UTIL')})", instant=True), "percent"),
        stat("Memory in use", "Of all memory there is.",
             query(f"sum({per_instance('DCGM_FI_DEV_FB_USED')}) / (sum({per_instance('DCGM_FI_DEV_FB_USED')}) "
                   f"+ sum({per_instance('DCGM_FI_DEV_FB_FREE')}))", instant=True), "percentunit",
             thresholds=thresholds(0.85, 0.95)),
        stat("Power", "Drawn by all.", query(f"sum({field('DCGM_FI_DEV_POWER_USAGE')})", instant=True), "watt"),
        stat("Hottest", "The warmest GPU.", query(f"max({field('DCGM_FI_DEV_GPU_TEMP')})", instant=True),
             "celsius", thresholds=thresholds(80, 90)),
        stat("XIDs", "Errors that the driver reported within the exporter's window of five minutes.",
             query(f"sum(max by (Hostname, gpu, UUID, xid) (DCGM_EXP_XID_ERRORS_COUNT{{{HOST}}}))", instant=True),
             thresholds=thresholds(1, colors=("green", "red"))),
        row("Work"),
        graph("Utilization", "Part of the time in which a kernel ran, as nvidia-smi shows it. A GPU can be "
              "at 100 % and have most of its units idle.",
              query(field("DCGM_FI_DEV_GPU_UTIL"), BY_HOST), "percent", width=12, min=0, max=100),
        graph("Memory", "Framebuffer in use; of a GPU in MIG mode, by all its instances.",
              query(f"{per_instance('DCGM_FI_DEV_FB_USED')} * 1048576", BY_HOST), "bytes", width=12, min=0),
        graph("Tensor pipes", "Part of the time in which a tensor pipe worked. Hopper and later.",
              query(field("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"), BY_HOST), "percentunit", min=0, max=1),
        graph("Engine", "Part of the time in which the graphics or compute engine worked. Hopper and later.",
              query(field("DCGM_FI_PROF_GR_ENGINE_ACTIVE"), BY_HOST), "percentunit", min=0, max=1),
        graph("Memory bandwidth", "Part of the time in which memory was read or written. Hopper and later.",
              query(field("DCGM_FI_PROF_DRAM_ACTIVE"), BY_HOST), "percentunit", min=0, max=1),
        row("Heat and clocks"),
        graph("Temperature", "Of the GPU's core.", query(field("DCGM_FI_DEV_GPU_TEMP"), BY_HOST), "celsius",
              thresholds=thresholds(80, 90)),
        graph("Temperature of the memory", "Where the board has a sensor for it.",
              query(field("DCGM_FI_DEV_MEMORY_TEMP"), BY_HOST), "celsius", thresholds=thresholds(90, 95)),
        graph("Power", "What the board draws.", query(field("DCGM_FI_DEV_POWER_USAGE"), BY_HOST), "watt", min=0),
        graph("Clock", "Of the streaming multiprocessors.",
              query(f"{field('DCGM_FI_DEV_SM_CLOCK')} * 1000000", BY_HOST), "hertz"),
        graph("Slowed down", "Part of the time in which the clocks were lowered by heat or by the power "
              "limit. The latter is what a limit is for.",
              [query(f"max by (Hostname, gpu, UUID) (rate(DCGM_FI_DEV_THERMAL_VIOLATION{{{HOST}}}"
                     "[$__rate_interval])) / 1e9", f"heat: {BY_HOST}"),
               query(f"max by (Hostname, gpu, UUID) (rate(DCGM_FI_DEV_POWER_VIOLATION{{{HOST}}}"
                     "[$__rate_interval])) / 1e9", f"power: {BY_HOST}")], "percentunit", interval="1m", min=0),
        graph("Reasons for lower clocks", "How often each was seen within the exporter's window of five "
              "minutes; idle GPUs and settings left out. Empty while there is none.",
              query("max by (Hostname, gpu, UUID, clock_event) "
                    f"(DCGM_EXP_CLOCK_EVENTS_COUNT{{{HOST}, {events}}})", f"{BY_HOST}: {{{{clock_event}}}}"),
              decimals=0, min=0),
        row("Errors"),
        table("Memory errors and replaced rows", "Since the driver was loaded. Pending: replaced at the next "
              "reset. GPUs without ECC have no row.",
              [query(f"max by (Hostname, gpu) (DCGM_FI_DEV_ECC_SBE_VOL_TOTAL{{{HOST}}})", table=True),
               query(f"max by (Hostname, gpu) (DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{{{HOST}}})", table=True),
               query(f"max by (Hostname, gpu) (DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS{{{HOST}}})", table=True),
               query(f"max by (Hostname, gpu) (DCGM_FI_DEV_ROW_REMAP_PENDING{{{HOST}}})", table=True),
               query(f"max by (Hostname, gpu) (DCGM_FI_DEV_ROW_REMAP_FAILURE{{{HOST}}})", table=True)],
              {"Hostname": "node", "gpu": "GPU", "Value #A": "corrected", "Value #B": "uncorrected",
               "Value #C": "rows replaced", "Value #D": "pending", "Value #E": "failed"}, width=12),
        graph("Last XID", "The number of the last error that the driver reported; 0 while there was none.",
              query(field("DCGM_FI_DEV_XID_ERRORS"), BY_HOST), decimals=0, width=6, steps=True),
        graph("PCIe repeats", "Packets that PCIe sent again.",
              query(f"max by (Hostname, gpu, UUID) (increase(DCGM_FI_DEV_PCIE_REPLAY_COUNTER{{{HOST}}}"
                    "[$__rate_interval]))", BY_HOST), width=6, interval="1m", decimals=0, min=0),
        row("Links"),
        graph("PCIe", "Bytes sent and received in a second. Hopper and later.",
              [query(field("DCGM_FI_PROF_PCIE_TX_BYTES"), f"sent: {BY_HOST}"),
               query(field("DCGM_FI_PROF_PCIE_RX_BYTES"), f"received: {BY_HOST}")], "Bps", width=12, min=0),
        graph("NVLink", "Traffic on all NVLinks of a GPU.",
              query(f"{field('DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL')} * 1000000", BY_HOST), "Bps", width=12, min=0),
        row("Who has them"),
        table("Pods", "Containers on these GPUs, with the component usage.",
              [query(f"max by (node, gpu, namespace, pod, container) (kerf_pod_gpu_share_ratio{{{ON_GPU}}})",
                     table=True),
               query(f"max by (node, gpu, namespace, pod, container) (kerf_pod_gpu_memory_bytes{{{ON_GPU}}})",
                     table=True),
               query("max by (node, gpu, namespace, pod, container) "
                     f"(kerf_pod_gpu_utilization_ratio{{{ON_GPU}}})", table=True)],
              {"node": "node", "gpu": "GPU", "namespace": "namespace", "pod": "pod", "container": "container",
               "Value #A": "share", "Value #B": "memory", "Value #C": "busy"},
              {"Value #A": "percentunit", "Value #B": "bytes", "Value #C": "percentunit"}, width=24),
    ]
    return board(*GPU, "Each GPU, from the metrics that dcgm-exporter's users know; works with kerf's "
                 "exporter, and in most panels with the original.",
                 [variable("node", "Node", "DCGM_FI_DEV_GPU_TEMP", "Hostname"),
                  variable("gpu", "GPU", 'DCGM_FI_DEV_GPU_TEMP{Hostname=~"$node"}')], panels, OTHERS)


def power_board():
    energy = f"kerf_gpu_energy_joules_total{{{ON_GPU}}}"
    panels = [
        stat("Drawn now", "By all GPUs, at the power component's last look.",
             query(f"sum({of_gpu('kerf_power_draw_watts')})", instant=True), "watt"),
        stat("Limits together", "Sum of the power limits.",
             query(f"sum({of_gpu('kerf_power_limit_watts')})", instant=True), "watt"),
        stat("Budget", "Watts for all GPUs together, where a budget is configured.",
             query(f"sum(kerf_power_budget_watts{{{ON_NODE}}})", instant=True), "watt", noValue="none"),
        stat("Not held", "GPUs that are not at the limit that is asked for.",
             query(f'count(kerf_power_state{{state=~"drifted|refused|unreadable", {ON_GPU}}}) or vector(0)',
                   instant=True), thresholds=thresholds(1, colors=("green", "red"))),
        stat("Set again", "Times in 24 hours that a limit was found changed.",
             query(f"sum({increase('kerf_power_drifts_total', ON_GPU, '24h')})", instant=True), decimals=0,
             thresholds=thresholds(1, 10)),
        stat("Energy in 24 h", "Taken by the GPUs. Component usage.",
             query(f"sum(increase({energy}[24h])) / 3.6e6", instant=True), "kwatth"),
        row("Limits"),
        graph("Draw", "What each GPU draws.", query(of_gpu("kerf_power_draw_watts"), BY_GPU), "watt",
              width=12, min=0),
        graph("Limit", "In force by request; dashed, where shown, what something else holds it to.",
              [query(of_gpu("kerf_power_limit_watts"), BY_GPU),
               query(f"{of_gpu('kerf_power_enforced_limit_watts')} < {of_gpu('kerf_power_limit_watts')}",
                     f"enforced: {BY_GPU}")], "watt", width=12, min=0, steps=True,
              overrides=[{"matcher": {"id": "byFrameRefID", "options": "B"}, "properties": [
                  {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}}]}]),
        bars("Draw of limit", "How much of its limit each GPU draws.",
             query(f"{of_gpu('kerf_power_draw_watts')} / {of_gpu('kerf_power_limit_watts')}", BY_GPU, instant=True),
             "percentunit", width=12, min=0, max=1, thresholds=thresholds(0.9, 1.05)),
        table("State", "How each GPU stands to its limit, and what its board takes.",
              [query(f"max by (node, gpu, state) (kerf_power_state{{{ON_GPU}}})", table=True),
               query(f"max by (node, gpu) (kerf_power_target_watts{{{ON_GPU}}})", table=True),
               query(f"max by (node, gpu) (kerf_power_limit_watts{{{ON_GPU}}})", table=True),
               query(f"max by (node, gpu) (kerf_power_default_limit_watts{{{ON_GPU}}})", table=True),
               query(f"max by (node, gpu) (kerf_power_min_limit_watts{{{ON_GPU}}})", table=True),
               query(f"max by (node, gpu) (kerf_power_max_limit_watts{{{ON_GPU}}})", table=True)],
              {"node": "node", "gpu": "GPU", "state": "state", "Value #B": "target", "Value #C": "limit",
               "Value #D": "default", "Value #E": "least", "Value #F": "most"},
              {f"Value #{x}": "watt" for x in "BCDEF"}, width=12),
        graph("Limits set", "Times that a limit was set, and of these because it was found changed.",
              [query(f"sum by (node) ({increase('kerf_power_applied_total', ON_GPU)})", "set {{node}}"),
               query(f"sum by (node) ({increase('kerf_power_drifts_total', ON_GPU)})", "changed by others {{node}}")],
              width=12, interval="1m", decimals=0, min=0),
        graph("Failures", "Changes that the driver refused, by kind. Empty until the first one.",
              query(f"sum by (node, kind) ({increase('kerf_power_failures_total', ON_NODE)})", "{{node}} {{kind}}"),
              width=12, interval="1m", decimals=0, min=0),
        row("Budget"),
        graph("Budget", "The total, the sum of the limits, which is kept below it, and what is drawn. Empty "
              "without a budget.",
              [query(f"sum by (node) (kerf_power_budget_watts{{{ON_NODE}}})", "total {{node}}"),
               query(f"sum by (node) (kerf_power_budget_held_watts{{{ON_NODE}}})", "limits {{node}}"),
               query(f"sum by (node) (kerf_power_draw_watts{{{ON_NODE}}}) "
                     "and on (node) kerf_power_budget_watts", "drawn {{node}}")],
              "watt", width=12, min=0),
        graph("Shares of the budget", "Limits of the GPUs, one above the other. Empty without a budget.",
              query(f"{of_gpu('kerf_power_limit_watts')} and on (node) kerf_power_budget_watts", BY_GPU), "watt",
              width=12, min=0, stacked=True),
        row("Energy (component usage)"),
        graph("Power by namespace", "What the work of each namespace's pods draws; idle is what GPUs draw "
              "while they do nothing.",
              [query(f"sum by (namespace) (rate(kerf_pod_gpu_energy_joules_total{{{ON_GPU}}}[$__rate_interval]))",
                     "{{namespace}}"),
               query(f'sum by (share) (rate(kerf_gpu_unattributed_energy_joules_total{{{ON_GPU}}}[$__rate_interval]))',
                     "{{share}}")], "watt", width=12, interval="1m", min=0, stacked=True),
        bars("Energy in 24 h by namespace", "Of the pods' work, without idle time.",
             query(f"sum by (namespace) (increase(kerf_pod_gpu_energy_joules_total{{{ON_GPU}}}[24h])) / 3.6e6",
                   "{{namespace}}", instant=True), "kwatth", width=12, min=0),
    ]
    return board(*POWER, "Power limits, whether they hold, the node's budget, and who takes the energy.",
                 [variable("node", "Node", "kerf_power_draw_watts"),
                  variable("gpu", "GPU", 'kerf_power_draw_watts{node=~"$node"}')], panels, OTHERS)


def sharing_board():
    held, used = (f"sum by (namespace, pod, container) (rate(kerf_pod_gpu_{what}_seconds_total{{{OF_POD}}}"
                  "[$__rate_interval]))" for what in ("held", "busy"))
    slices = f"sum by (node, gpu) (kerf_replicas_allocated{{{ON_GPU}}})"
    panels = [
        stat("Slices held", "Of all slices.",
             query(f"sum(kerf_replicas_allocated{{{ON_GPU}}}) / sum(kerf_replicas{{{ON_GPU}}})", instant=True),
             "percentunit"),
        stat("GPU time used", "Part of the GPUs' time that worked, over the last hour.",
             query(f"1 - sum(rate(kerf_gpu_unattributed_seconds_total{{share=\"idle\", {ON_GPU}}}[1h])) "
                   f"/ sum(rate(kerf_gpu_observed_seconds_total{{{ON_GPU}}}[1h]))", instant=True), "percentunit"),
        stat("Used of held", "Part of the time set aside for pods in which their work ran, over the last hour.",
             query(f"sum(rate(kerf_pod_gpu_busy_seconds_total{{{OF_POD}}}[1h])) "
                   f"/ sum(rate(kerf_pod_gpu_held_seconds_total{{{OF_POD}}}[1h]))", instant=True), "percentunit"),
        stat("Pods on GPUs", "Pods that hold or use one.",
             query(f"count(count by (namespace, pod) (kerf_pod_gpu_share_ratio{{{OF_POD}}}))", instant=True)),
        stat("Above their memory", "Containers above their fair share or quota for the watchdog's window.",
             query(f"sum(kerf_pod_gpu_memory_over_limit{{{OF_POD}}})", instant=True),
             thresholds=thresholds(1, colors=("green", "red"))),
        stat("GPUs without work", "GPUs of which no slice is held.",
             query(f"sum({slices} == bool 0)", instant=True)),
        row("Time-slicing efficiency"),
        bars("Time-slicing efficiency per GPU", "Share of each GPU's slices that a container holds.",
             query(f"{slices} / sum by (node, gpu) (kerf_replicas{{{ON_GPU}}})", BY_GPU, instant=True),
             "percentunit", width=12, min=0, max=1),
        graph("Containers per GPU in use", "How many slices are held on those GPUs where at least one is: 1 "
              "means that time slicing brings nothing.",
              query(f"sum by (node) ({slices}) / clamp_min(sum by (node) ({slices} > bool 0), 1)", "{{node}}"),
              width=6, decimals=1, min=0),
        graph("GPUs without work", "GPUs of which no slice is held.",
              query(f"sum by (node) ({slices} == bool 0)", "{{node}}"), width=6, decimals=0, min=0),
        graph("Time used of time held", "How well each container uses what it was given: 1 is all of its "
              "share. More is possible while its neighbours rest.",
              query(f"{used} / ({held} > 0)", BY_POD), "percentunit", width=12, interval="1m", min=0),
        graph("Where the time goes", "Pods, work of no pod, and idle time add up to the GPUs' time.",
              [query(f"sum by (namespace, pod) (rate(kerf_pod_gpu_busy_seconds_total{{{OF_POD}}}[$__rate_interval]))",
                     "{{namespace}}/{{pod}}"),
               query(f"sum by (share) (rate(kerf_gpu_unattributed_seconds_total{{{ON_GPU}}}[$__rate_interval]))",
                     "{{share}}")], "short", width=12, interval="1m", min=0, stacked=True),
        row("Pods"),
        graph("Activity", "Part of the GPU's time that worked for each container. MIG devices do not tell.",
              query(of_pod("kerf_pod_gpu_utilization_ratio"), BY_POD), "percentunit", min=0, stacked=True),
        graph("Memory", "Device memory of each container, and memory of no container.",
              [query(of_pod("kerf_pod_gpu_memory_bytes"), BY_POD),
               query(f"sum by (share) (kerf_gpu_unattributed_memory_bytes{{{ON_GPU}}})", "{{share}}")],
              "bytes", min=0, stacked=True),
        graph("Power", "What the work of each container draws.",
              query(of_pod("kerf_pod_gpu_power_watts"), BY_POD), "watt", min=0, stacked=True),
        bars("Memory of fair share", "Memory that each container uses, of its fair share or quota. Above 1 it "
             "takes what is its neighbours'.",
             query(f"{of_pod('kerf_pod_gpu_memory_bytes')} / {of_pod('kerf_pod_gpu_memory_limit_bytes')}", BY_POD,
                   instant=True), "percentunit", width=12, min=0, thresholds=thresholds(0.9, 1)),
        table("Containers", "What each holds, uses, and took within 24 hours.",
              [query(of_pod("kerf_pod_gpu_share_ratio"), table=True),
               query(of_pod("kerf_pod_gpu_memory_bytes"), table=True),
               query(of_pod("kerf_pod_gpu_processes"), table=True),
               query(f"sum by (namespace, pod, container) (increase(kerf_pod_gpu_busy_seconds_total{{{OF_POD}}}[24h]))",
                     table=True),
               query("sum by (namespace, pod, container) "
                     f"(increase(kerf_pod_gpu_energy_joules_total{{{OF_POD}}}[24h])) / 3.6e6", table=True)],
              {"namespace": "namespace", "pod": "pod", "container": "container", "Value #A": "GPUs held",
               "Value #B": "memory", "Value #C": "processes", "Value #D": "GPU time in 24 h",
               "Value #E": "energy in 24 h"},
              {"Value #B": "bytes", "Value #D": "s", "Value #E": "kwatth"}, width=12),
        row("Watchdog"),
        graph("Memory of each GPU", "In use, of what there is.",
              query(f"{of_gpu('kerf_gpu_memory_used_bytes')} / {of_gpu('kerf_gpu_memory_total_bytes')}", BY_GPU),
              "percentunit", width=12, min=0, max=1, thresholds=thresholds(0.85, 0.95)),
        graph("Found and evicted", "Containers that the memory watchdog found above their part, and evictions "
              "that it asked for.",
              [query(f"sum by (node) ({increase('kerf_memory_watchdog_breaches_total', ON_NODE)})", "found {{node}}"),
               query(f"sum by (node, outcome) ({increase('kerf_memory_watchdog_evictions_total', ON_NODE)})",
                     "eviction {{outcome}} {{node}}")], width=12, interval="1m", decimals=0, min=0),
    ]
    return board(*SHARING, "Who shares a GPU with whom, who uses how much, and whether sharing pays. Needs "
                 "the component usage.",
                 [variable("node", "Node", "kerf_gpu_observed_seconds_total"),
                  variable("gpu", "GPU", 'kerf_gpu_observed_seconds_total{node=~"$node"}'),
                  variable("namespace", "Namespace", 'kerf_pod_gpu_memory_bytes{node=~"$node", gpu=~"$gpu"}'),
                  variable("pod", "Pod", 'kerf_pod_gpu_memory_bytes{node=~"$node", gpu=~"$gpu", '
                           'namespace=~"$namespace"}')], panels, OTHERS)


COMING = """\
Parts of GPUs and groups of GPUs.

- **MIG instances** are below: memory of each, with the exporter.
- **NVSwitch partitions** (which GPUs form one, which are active, who holds them, how long activation \
takes) are not in this release of kerf: there are no metrics of them yet, so there is nothing to show. They \
will be shown here.
"""


def partitions_board():
    instance = "max by (Hostname, gpu, GPU_I_ID, GPU_I_PROFILE)"
    in_mig = f'GPU_I_ID!="", {HOST}'
    legend = "{{Hostname}} GPU {{gpu}} instance {{GPU_I_ID}} ({{GPU_I_PROFILE}})"
    panels = [
        text("What is here", COMING),
        row("MIG"),
        bars("Instances", "MIG instances by profile.",
             query(f"count by (GPU_I_PROFILE) ({instance} (DCGM_FI_DEV_FB_USED{{{in_mig}}}))", "{{GPU_I_PROFILE}}",
                   instant=True), width=8, min=0, decimals=0),
        graph("Memory", "Framebuffer in use by each instance.",
              query(f"{instance} (DCGM_FI_DEV_FB_USED{{{in_mig}}}) * 1048576", legend), "bytes", width=16, min=0),
        row("Links between GPUs"),
        graph("NVLink", "Traffic on all NVLinks of a GPU.",
              query(f"{field('DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL')} * 1000000", BY_HOST), "Bps", width=12, min=0),
        graph("NVLink errors", "Checksum errors and repeated transmissions on all NVLinks of a GPU.",
              [query(f"max by (Hostname, gpu, UUID) (increase(DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL{{{HOST}}}"
                     "[$__rate_interval]))", f"checksum: {BY_HOST}"),
               query(f"max by (Hostname, gpu, UUID) (increase(DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL{{{HOST}}}"
                     "[$__rate_interval]))", f"repeated: {BY_HOST}")],
              width=12, interval="1m", decimals=0, min=0),
    ]
    return board(*PARTITIONS, "MIG instances and links. NVSwitch partitions will be shown here.",
                 [variable("node", "Node", "DCGM_FI_DEV_GPU_TEMP", "Hostname"),
                  variable("gpu", "GPU", 'DCGM_FI_DEV_GPU_TEMP{Hostname=~"$node"}')], panels, OTHERS)


def all_boards():
    return [node_board(), gpu_board(), power_board(), sharing_board(), partitions_board()]
