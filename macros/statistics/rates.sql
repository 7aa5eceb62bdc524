{#-
    How far rates scatter about what is expected, as the variance of their ratio to it; 0 where they scatter no more than
    counts of one rate do. An aggregate over counts, which were added up with weights: `clicks` and `expected` with each
    weight once, `clicks_twice` and `variance` with its square, which is by how much a sum of weighed Poisson counts
    varies. By moments: the squares of the differences less what chance gives, over those of what is expected. It is 0
    where Dean's test does not find it (1 %, one-sided), or the `error` of what is expected may explain it: places
    share their errors, so that is added as if it were all one. As far as it is the same share of all that is expected,
    it is in the mean as well and tells nothing apart: only what is beyond that counts. Few counts are skewed: the
    quantile is that of chi-squared (Wilson and Hilferty) of as many as would vary alike (Satterthwaite).
-#}
{% macro scatter_of_rates(clicks, clicks_twice, expected, variance, error) -%}
{%- set excess = sum_exactly('power(' ~ clicks ~ ' - ' ~ expected ~ ', 2) - ' ~ clicks_twice) -%}
{%- set shared = '(' ~ sum_exactly(error) ~ ' / nullif(' ~ sum_exactly(expected) ~ ', 0))' -%}
{%- set by_error = 'greatest(' ~ sum_exactly('power(' ~ error ~ ', 2)') ~ ' - 2 * ' ~ shared ~ ' * '
    ~ sum_exactly('(' ~ error ~ ') * (' ~ expected ~ ')') ~ ' + power(' ~ shared ~ ', 2) * '
    ~ sum_exactly('power(' ~ expected ~ ', 2)') ~ ', 0)' -%}
{%- set squares = sum_exactly('power(' ~ variance ~ ', 2)') -%}
{%- set alike = '(power(' ~ sum_exactly(variance) ~ ', 2) / nullif(' ~ squares ~ ', 0))' -%}
case
    when
        {{ excess }} - {{ by_error }}
        > (power(1 - 2 / (9 * {{ alike }}) + 2.326 * sqrt(2 / (9 * {{ alike }})), 3) - 1) * sqrt({{ alike }} / 2)
        * sqrt(2 * {{ squares }} + 2 * power({{ by_error }}, 2))
        then {{ excess }} / {{ sum_exactly('power(' ~ expected ~ ', 2)') }}
    else 0
end
{%- endmacro %}

{#-
    What counts say of a rate's ratio to the one expected, shrunk to 1: the mean of a Gamma distribution after as many
    Poisson counts as vary like these. Without scatter it is 1.
-#}
{% macro shrunk_ratio(clicks, expected, variance, scatter) -%}
(1 + {{ scatter }} * {{ clicks }} * {{ expected }} / nullif({{ variance }}, 0))
/ (1 + {{ scatter }} * {{ expected }} * {{ expected }} / nullif({{ variance }}, 0))
{%- endmacro %}

{#-
    A quantile of a Gamma distribution over its mean, by Wilson and Hilferty's approximation ("The distribution of
    chi-square", 1931): `normal` is the quantile of the normal distribution, as -1.645 for 5 %. NULL where there is no shape,
    which greatest() would leave out.
-#}
{% macro gamma_quantile(shape, normal) -%}
case
    when {{ shape }} is not null
        then greatest(power(1 - 1 / (9 * {{ shape }}) + {{ normal }} / (3 * sqrt({{ shape }})), 3), 0)
end
{%- endmacro %}
