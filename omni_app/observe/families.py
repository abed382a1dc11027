"""Every metric that `/metrics` can show: `docs/OBSERVE.md`, the dashboard and the alerts name no other."""

from omni_app.money import PICO_PER_USD
from omni_app.observe.metrics import MICROSECONDS, MILLISECONDS, Family

MS, US = 1_000, 1_000_000
COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

ANSWERS = Family("omni_http_answers_total", COUNTER, "Answers of the API.", ("route", "status"))
REQUESTS = Family("omni_requests_total", COUNTER, "Requests in the ledger; code is ok or the error's.",
                  ("endpoint", "task", "mode", "code"))  # fmt: skip
RESCUED = Family("omni_requests_rescued_total", COUNTER, "Answered by a fallback.", ("endpoint", "mode"))
TOKENS = Family("omni_tokens_total", COUNTER, "Tokens as billed.", ("provider", "model", "mode", "direction"))
COST = Family("omni_cost_dollars_total", COUNTER, "What requests cost, failed attempts too.",
              ("provider", "model", "mode"), PICO_PER_USD)  # fmt: skip
OVERRUN = Family("omni_overrun_dollars_total", COUNTER, "What providers count beyond what a request may cost.",
                 ("provider", "model", "mode"), PICO_PER_USD)  # fmt: skip
BASELINE = Family("omni_baseline_cost_dollars_total", COUNTER, "The baseline's cost for the same tokens.", ("mode",),
                  PICO_PER_USD)  # fmt: skip
ATTEMPTS = Family("omni_attempts_total", COUNTER, "Calls at providers; outcome is ok or the fault's kind.",
                  ("provider", "model", "outcome"))  # fmt: skip
ATTEMPT_TIME = Family("omni_attempt_duration_seconds", HISTOGRAM, "Duration of a call at a provider.", ("provider",),
                      MS, MILLISECONDS)  # fmt: skip
DURATION = Family("omni_request_duration_seconds", HISTOGRAM, "From a request's arrival at the gateway to its end.",
                  ("endpoint",), MS, MILLISECONDS)  # fmt: skip
FIRST_TOKEN = Family("omni_first_token_seconds", HISTOGRAM, "Until the first piece of a streamed answer.",
                     ("endpoint",), MS, MILLISECONDS)  # fmt: skip
OVERHEAD = Family("omni_overhead_seconds", HISTOGRAM, "What we added to the attempts' own time.", ("endpoint",),
                  MS, MILLISECONDS)  # fmt: skip
ROUTING = Family("omni_routing_seconds", HISTOGRAM, "From a request's arrival at the gateway to the decision.", (),
                 US, MICROSECONDS)  # fmt: skip
BREAKER = Family(
    "omni_breaker_open",
    GAUGE,
    "1 while a deployment fails, 0 when it answered within 5 minutes.",
    ("provider", "model"),
)
IN_FLIGHT = Family("omni_in_flight", GAUGE, "Requests that the worker holds, by their weight.")
WAITING = Family("omni_turns_waiting", GAUGE, "Requests and pieces in line for the event loop.")
SHED = Family("omni_shed_total", COUNTER, "Requests refused because the worker was overloaded.")
SPOOL = Family("omni_spool_waiting_bytes", GAUGE, "Ledger lines that are not in the database yet.")
LAG = Family("omni_drainer_lag_seconds", GAUGE, "For how long lines have been waiting for the database.")
DRAINED = Family("omni_drained_requests_total", COUNTER, "Requests that the drainer brought to the database.")
DAMAGED = Family("omni_spool_damaged_lines_total", COUNTER, "Ledger lines that could not be read.")
UNLOGGED = Family("omni_log_lines_dropped_total", COUNTER, "Log lines given up because nobody took them.")
UNTRACED = Family("omni_spans_dropped_total", COUNTER, "Spans given up because the collector did not take them.")
UNSENT = Family("omni_log_lines_unsent_total", COUNTER, "Log lines given up because the collector did not take them.",
                ("log",))  # fmt: skip
SECURITY = Family("omni_security_events_total", COUNTER, "Log-ins, refusals, changes of keys and accounts.",
                  ("event", "outcome"))  # fmt: skip
SECURITY_UNLOGGED = Family("omni_security_lines_dropped_total", COUNTER, "Lines given up because nobody took them.")
MEMORY = Family("process_resident_memory_bytes", GAUGE, "Resident memory.")
CPU = Family("process_cpu_seconds_total", COUNTER, "User and system time.")
FILES = Family("process_open_fds", GAUGE, "Open file descriptors.")
STARTED = Family("process_start_time_seconds", GAUGE, "When the process began, since 1970.")

FAMILIES = (
    ANSWERS, REQUESTS, RESCUED, TOKENS, COST, OVERRUN, BASELINE, ATTEMPTS, ATTEMPT_TIME, DURATION, FIRST_TOKEN,
    OVERHEAD, ROUTING, BREAKER, IN_FLIGHT, WAITING, SHED, SPOOL, LAG, DRAINED, DAMAGED, UNLOGGED, UNTRACED, UNSENT,
    SECURITY, SECURITY_UNLOGGED, MEMORY, CPU, FILES, STARTED,
)  # fmt: skip
