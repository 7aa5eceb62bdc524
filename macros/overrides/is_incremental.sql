{#-
    dbt's own rule, and two more: a unit test tests the full build, whose rows an incremental run must equal, unless it
    overrides this macro; and `dbt show` shows all rows of a model, not those that a build would replace.
-#}
{% macro is_incremental() %}
    {% if model.resource_type == 'unit_test' or flags.WHICH == 'show' %}{% do return(false) %}{% endif %}
    {% do return(dbt.is_incremental()) %}
{% endmacro %}

{#-
    What an incremental run asks of the warehouse, which a unit test has not: an error that says what to give instead.
    `overrides` is the YAML of it.
-#}
{% macro refuse_in_unit_test(overrides) %}
    {% if model.resource_type == 'unit_test' %}
    {% do exceptions.raise_compiler_error(
        "the unit test overrides is_incremental, so the model asks the warehouse what is new, and a unit test has none. "
        ~ "Leave the override out: a unit test tests the full build, and an incremental run gives the same rows. "
        ~ "Or say what is new too: overrides: {macros: {is_incremental: true, " ~ overrides ~ "}}"
    ) %}
    {% endif %}
{% endmacro %}
