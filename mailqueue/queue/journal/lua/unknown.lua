-- What no file before this one has returned from.
return redis.error_reply('ERR unknown journal operation ' .. tostring(operation))
