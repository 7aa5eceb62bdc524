{#-
    Draws by chance that a rebuild repeats: what is drawn follows from an MD5 alone, of which each of four parts, from 0
    on, gives a number of its own.
-#}

{#- A number above 0 and below 1, any as likely as any other, of a part of an MD5 as text. -#}
{% macro uniform_draw(digest, part) -%}
{{ adapter.dispatch('uniform_draw')(digest, part) }}
{%- endmacro %}

{% macro duckdb__uniform_draw(digest, part) -%}
((cast('0x' || substr({{ digest }}, {{ 1 + 8 * part }}, 8) as bigint) + 0.5) / 4294967296.0)
{%- endmacro %}

{% macro spark__uniform_draw(digest, part) -%}
((cast(conv(substr({{ digest }}, {{ 1 + 8 * part }}, 8), 16, 10) as bigint) + 0.5D) / 4294967296.0D)
{%- endmacro %}

{#-
    A number from the normal distribution of mean 0 and deviation 1, of the first two parts of an MD5 (Box and Muller,
    "A note on the generation of random normal deviates", 1958).
-#}
{% macro normal_draw(digest) -%}
(sqrt(-2 * ln({{ uniform_draw(digest, 0) }})) * cos(2 * pi() * {{ uniform_draw(digest, 1) }}))
{%- endmacro %}
