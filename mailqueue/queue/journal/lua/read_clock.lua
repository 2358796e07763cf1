-- Tell what the server's clock says, what is added to it, and until when it is known to go evenly.
--
-- read_clock()
--   -> server_time, offset, seen
if operation == 'read_clock' then
  return { server_time, offset, seen }
end
