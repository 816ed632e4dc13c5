"""Sequential tests of the judge: evidence that stays valid however often and for however long one looks.

An e-process is a non-negative running number that starts at 1 and whose expectation stays at most 1 while its null
hypothesis holds, at every stopping time. Ville's inequality then bounds the chance that it ever reaches 1/alpha by
alpha. Every `log_...` here is its natural logarithm: compare it with `logarithms.log_threshold(alpha)`, at every tick,
without any correction. Averages of e-processes are e-processes (`logarithms.log_mean_exp`); so is a product over ticks.

Everything is pure. A method that remembers has a small frozen dataclass as its state, whose fields are numbers and
tuples of numbers, rounded at every tick, so that the JSON in status is the value and a replay gives the same verdict:

    from visionmodel_operator.core.sequential import ratio
    from visionmodel_operator.core.sequential.logarithms import log_threshold

    state = ratio.no_evidence()
    for tick in ticks:
        state = ratio.update(state, canary_requests, canary_errors, stable_requests, stable_errors)
        is_harm = ratio.log_evidence(state) >= log_threshold(alpha)

| module | question | null hypothesis | memory |
|---|---|---|---|
| `ratio` | does the canary fail more often than stable? | risk ratio <= `tolerate_ratio` | `RatioEvidence` |
| `late_fault` | did it begin to, some time ago? | as `ratio` | `LateFaultEvidence`, beside a `RatioEvidence` |
| `certificate` | is it proven not worse than `max_ratio`? | risk ratio >= `max_ratio` | `SafetyEvidence` |
| `dispersion` | how noisy are equal groups? (no test) | - | `Dispersion` |
| `sign` | as `ratio`, with bursts that hit one group | both groups exchangeable within the tick | `SignEvidence` |
| `proportion` | is a rate above a limit? error floor, agreement | rate <= limit | totals only |
| `paired` | whose mistake are the discordant pairs? | the canary's share <= 1/2 | totals only |
| `graded` | mean of scores in [0, 1] | mean <= or >= a limit | `GradedScores` |
| `split` | does the traffic follow the weights? | the canary's share is as written | totals only |
| `latency` | is the canary's tail slower? | tail shares no worse at each edge | `TailEvidence` |
| `planning` | how many requests will it take? (no test) | - | - |
| `budget` | what each test may spend of alpha (no test) | - | - |

A test keeps one memory for the whole rollout and is never begun again at a step. A null hypothesis says what must hold
per tick; base rates and weights may change from tick to tick.
"""
