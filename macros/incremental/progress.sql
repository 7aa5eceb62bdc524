{#-
    How builds stay exact and cheap.

    Every landed row carries its batch, and batch numbers only grow. Each model that keeps rows keeps, in
    ops.model_progress and in the transaction that writes the model, the last batch it has seen. What it has
    still to do is what lies between that and the last batch that everything upstream of it has seen. A build that
    stopped half-way therefore needs no repair: the next one finds in each model where it stopped.

    A batch of a dataset that a model does not read is seen by it without being looked at: so it is marked where
    landings are entered (flows/build/warehouse.py), and a build need not run the models of one dataset for another.
-#}

{#- The last batch that `node` has seen; for a view, the last that everything it reads has seen. -#}
{% macro batch_seen_by(node, progress) %}
    {% if node.config.materialized in ('incremental', 'table') %}
        {% do return(progress.get(node.name, {}).get('batch_id', 0)) %}
    {% endif %}
    {% do return(batch_seen_above(node, progress)) %}
{% endmacro %}

{% macro batch_seen_above(node, progress) %}
    {% set seen = [] %}
    {% for parent_id in node.depends_on.nodes %}
        {% if parent_id.startswith('model.') %}
            {% do seen.append(batch_seen_by(graph.nodes[parent_id], progress)) %}
        {% elif parent_id.startswith('source.') %}
            {% do seen.append(progress['']['batch_id']) %}
        {% endif %}
    {% endfor %}
    {% do return((seen or [progress['']['batch_id']]) | min) %}
{% endmacro %}

{#-
    What Tidemark says of a model or seed (flows/build/logic.py): the mark of its logic, and its reach. Nothing where dbt was
    started without Tidemark.
-#}
{% macro known_logic(node) %}
    {% do return(fromjson(env_var('TIDEMARK_LOGIC', '{}')).get(node.name, {})) %}
{% endmacro %}

{#-
    A mark of the logic that makes a model: its SQL, the macros, variables and seeds behind it, and the same of
    everything upstream of it. '' where it is not known, or where `--empty` leaves out the rows: no mark is equal to that.
-#}
{% macro logic_of(node) %}
    {% do return('' if flags.EMPTY else known_logic(node).get('mark', '')) %}
{% endmacro %}

{#-
    The datasets whose landings a model sees, sorted; '*' among them where it reads the landings of all. A model
    that reads the table of landings for some datasets alone names them in meta.datasets.
-#}
{% macro datasets_of(node) %}
    {% set named = node.config.get('meta', {}).get('datasets') %}
    {% if named %}{% do return(named) %}{% endif %}
    {% set found = [] %}
    {% for id in node.depends_on.nodes %}
        {% if id in graph.sources %}
            {% set source = graph.sources[id] %}
            {% do found.append(source.name if source.source_name == 'landed' else '*') %}
        {% elif id in graph.nodes %}
            {% do found.extend(datasets_of(graph.nodes[id])) %}
        {% endif %}
    {% endfor %}
    {% do return(found | unique | sort) %}
{% endmacro %}

{#-
    What every model has seen, by its name; under '' the last landing the warehouse knows of. Asked once for each
    node: while it is built, neither it nor what it reads sees more.
-#}
{% macro read_progress() %}
    {% if '_progress' not in model %}{% do model.update({'_progress': query_progress()}) %}{% endif %}
    {% do return(model['_progress']) %}
{% endmacro %}

{% macro query_progress() %}
    {% set progress = {} %}
    {% set rows = run_query("
        select model, batch_id, logic, whole_change from ops.model_progress
        union all select '', coalesce(max(batch_id), 0), '', 0 from landed.landings
    ") %}
    {% for row in rows %}
        {% do progress.update({row[0]: {'batch_id': row[1] | int, 'logic': row[2], 'whole_change': row[3]}}) %}
    {% endfor %}
    {% do return(progress) %}
{% endmacro %}

{#- The batches an incremental run of this model is for: those after `seen`, up to and with `upto`. -#}
{% macro batches_to_see() %}
    {% do refuse_in_unit_test("batches_to_see: {seen: 1, upto: 2}") %}
    {% set progress = read_progress() %}
    {% do return({
        'seen': progress.get(model.name, {}).get('batch_id', 0),
        'upto': batch_seen_above(model, progress),
    }) %}
{% endmacro %}

{#-
    Post-hook, inside the model's own transaction: what the model has now seen, and by which logic. A build of
    chosen days (backfill) sees no batch: what is new to the model stays so.
-#}
{% macro record_progress() %}
    {% if execute and model.config.materialized in ('incremental', 'table') and flags.WHICH in ('build', 'run', 'retry') %}
    {% set progress = read_progress() %}
    {% set seen = batch_seen_above(model, progress) %}
    {% if backfill_days() %}{% set seen = progress.get(model.name, {}).get('batch_id', 0) %}{% endif %}
    delete from ops.model_progress where model = '{{ model.name }}';
    insert into ops.model_progress
    select
        '{{ model.name }}',
        {{ seen }},
        ['{{ datasets_of(model) | join("', '") }}'],
        '{{ logic_of(model) }}',
        case
            when exists (select 1 from ops.changes where model = '{{ model.name }}')
                then {{ progress.get(model.name, {}).get('whole_change', 0) }}
            else nextval('ops.change_number')
        end,
        {{ utc_now() }};
    {{ record_changes() }}
    {% endif %}
{% endmacro %}
