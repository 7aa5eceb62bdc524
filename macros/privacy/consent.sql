{#- What an event may be used for: docs/guides/privacy.md#consent. -#}

{#- Whether an event had consent to a purpose, and it was not withdrawn since. -#}
{% macro still_has_consent(purpose) -%}
has_{{ purpose }}_consent and not is_{{ purpose }}_withdrawn
{%- endmacro %}

{#- A column where there is still consent to one of these purposes, NULL elsewhere. -#}
{% macro with_consent(column, purposes) -%}
case when {% for purpose in purposes %}({{ still_has_consent(purpose) }}){{ ' or ' if not loop.last }}{% endfor %} then {{ column }} end
{%- endmacro %}

{#- The column of events that says whether there is still consent to stitching: that of the purpose it is done for. -#}
{% macro stitching_consent() -%}
has_{{ var('stitching_consent') }}_consent
{%- endmacro %}
