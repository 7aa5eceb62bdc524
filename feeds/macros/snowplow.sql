-- What feeds/snowplow.sql needs to read entities and self-describing events, wherever they stand. An entity is named as
-- Snowplow's loaders name its table, without the version: com_snowplowanalytics_snowplow_web_page.

-- As loaders write the names of schemas and of their properties.
create macro snake_case(name) as lower(regexp_replace(name, '([a-z0-9])([A-Z])', '\1_\2', 'g'));

create macro table_of_schema(iglu_uri) as
    regexp_replace(snake_case(regexp_extract(iglu_uri, '^iglu:([^/]+/[^/]+)', 1)), '[^a-z0-9]', '_', 'g');

create macro table_of(column_name) as
    regexp_replace(regexp_replace(lower(column_name), '^(contexts|unstruct_event)_', ''), '(_[0-9]+)+$', '');

-- A text of the form {"schema": ..., "data": [{"schema": ..., "data": {...}}, ...]}
create macro entities_of(contexts) as
    case
        when json_valid(contexts)
            then
                list_transform(
                    from_json(contexts, '{"data": [{"schema": "VARCHAR", "data": "JSON"}]}').data,
                    lambda one: {name: table_of_schema(one.schema), data: one.data}
                )
    end;

-- {"schema": ..., "data": {"schema": ..., "data": {...}}}
create macro self_described(unstruct_event) as
    case
        when json_valid(unstruct_event)
            then {
                name: table_of_schema(unstruct_event ->> '$.data.schema'),
                data: json_extract(unstruct_event, '$.data.data')
            }
    end;

create macro first_of(value) as case when json_type(value) = 'ARRAY' then json_extract(value, '$[0]') else value end;

-- Members of a JSON object by the names of tables; of a list, its first.
create macro entities_in(tables) as
    list_transform(
        list_distinct(coalesce(json_keys(tables), [])),
        lambda key: {
            name: table_of(key), data: first_of(json_extract(tables, '/' || replace(replace(key, '~', '~0'), '/', '~1')))
        }
    );

create macro entity(entities, wanted) as list_filter(entities, lambda one: one.name = wanted and json_type(one.data) <> 'NULL')[1].data;

-- A property as text, in camelCase or, as loaders write it, in snake_case.
create macro property_of(entity_data, name) as
    coalesce(entity_data ->> ('$."' || name || '"'), entity_data ->> ('$."' || snake_case(name) || '"'));

-- What the seed names: a part of a structured event, or entity.property.
create macro named_value(place, label, property, value, entities) as
    case place
        when 'se_label' then label
        when 'se_property' then property
        when 'se_value' then value
        else property_of(entity(entities, split_part(place, '.', 1)), split_part(place, '.', 2))
    end;

-- Whom an id names; all zeros stand where a tracker is told to name nobody.
create macro named(id) as case when not regexp_matches(id, '^[0-]*$') then id end;

-- Host and path of an address, for trackers that send nothing else.
create macro page_of(url) as nullif(regexp_extract(url, '^[a-zA-Z]+://([^?#]*)', 1), '');

-- A rank within a slot, from 1; what is none, such as the amount of another kind of event, is not known.
create macro rank_of(value) as
    case when try_cast(value as double) >= 1 and try_cast(value as double) = try_cast(value as integer) then try_cast(value as integer) end;
