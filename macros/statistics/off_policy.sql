{#-
    A query of the value that a policy would have had, estimated from the log of another that was shown: a row each by
    IPS, SNIPS and DR, with a 90 % interval. `log` is a relation of one row per choice, with its `reward`, the `propensity`
    with which it was chosen, the `probability` with which the judged policy would have chosen it, the
    `predicted_reward` by some model and the `predicted_value`, which is the mean of that over what the judged policy
    would choose there.

    IPS weighs rewards with probability over propensity (Horvitz and Thompson, JASA 47, 1952), SNIPS divides by the sum of
    weights (Swaminathan and Joachims, NIPS 2015), and DR corrects the prediction by what is weighed (Dudik, Langford
    and Li, ICML 2011). The effective sample is Kish's: as many choices of equal weights say as much. Where it is
    under `least_effective_sample`, the value is withheld. Choices count as independent of each other.
-#}
{% macro off_policy_value(log, least_effective_sample=30) -%}
with weighed as (
    select
        cast(reward as double) as reward,
        cast(probability as double) / propensity as weight,
        cast(predicted_reward as double) as predicted_reward,
        cast(predicted_value as double) as predicted_value
    from {{ log }}
),

summed as (
    select
        count(*) as choices_count,
        sum(weight) as weights,
        power(sum(weight), 2) / nullif(sum(weight * weight), 0) as effective_sample,
        max(weight) as largest_weight,
        avg(weight * reward) as ips,
        stddev_samp(weight * reward) / sqrt(count(*)) as ips_error,
        sum(weight * reward) / nullif(sum(weight), 0) as snips,
        avg(predicted_value + weight * (reward - predicted_reward)) as dr,
        stddev_samp(predicted_value + weight * (reward - predicted_reward)) / sqrt(count(*)) as dr_error
    from weighed
),

with_errors as (
    select
        summed.*,
        (select sqrt(sum(power(weighed.weight * (weighed.reward - summed.snips), 2))) from weighed)
        / nullif(summed.weights, 0) as snips_error
    from summed
),

estimated as (
    select 'IPS' as estimator, ips as value, ips_error as value_error, * from with_errors
    union all
    select 'SNIPS' as estimator, snips as value, snips_error as value_error, * from with_errors
    union all
    select 'DR' as estimator, dr as value, dr_error as value_error, * from with_errors
),

judged as (
    select *, coalesce(effective_sample, 0) < {{ least_effective_sample }} as is_withheld from estimated
)

select
    estimator,
    case when not is_withheld then value end as value,
    case when not is_withheld then value - 1.645 * value_error end as value_low,
    case when not is_withheld then value + 1.645 * value_error end as value_high,
    choices_count,
    effective_sample,
    largest_weight,
    is_withheld,
    case when is_withheld then 'the effective sample is under {{ least_effective_sample }}' end as why_withheld
from judged
{%- endmacro %}
