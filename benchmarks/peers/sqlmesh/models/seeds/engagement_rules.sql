MODEL (
  name seeds.engagement_rules,
  kind SEED (
    path '../../../../../seeds/engagement_rules.csv'
  ),
  columns (
    product TEXT,
    content_type TEXT,
    read_min_depth DOUBLE,
    read_min_engaged_seconds DOUBLE,
    enjoyed_min_engaged_seconds DOUBLE,
    enjoyed_min_positive_reactions BIGINT
  )
);
