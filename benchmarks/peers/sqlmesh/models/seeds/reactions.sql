MODEL (
  name seeds.reactions,
  kind SEED (
    path '../../../../../seeds/reactions.csv'
  ),
  columns (
    reaction TEXT,
    is_positive BOOLEAN
  )
);
