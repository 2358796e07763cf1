-- List what is being sent; `updated` is when a message entered its state.
--
-- in_hand()
--   -> {id, state, updated}…
if operation == 'in_hand' then
  return being_sent()
end
