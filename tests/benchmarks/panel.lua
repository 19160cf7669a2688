-- Searches that differ, so many a second, however long each takes (as long as a connection is free): `-- RATE PATH`.
local ffi = require("ffi")
ffi.cdef[[ typedef struct { long s; long us; } nbproxy_time; int gettimeofday(nbproxy_time *now, void *zone); ]]
local now = ffi.new("nbproxy_time")
local n, due, each, path = 0, nil, nil, nil

local function milliseconds()
  ffi.C.gettimeofday(now, nil)
  return tonumber(now.s) * 1e3 + tonumber(now.us) / 1e3
end

init = function(args)
  each, path = 1e3 / tonumber(args[1]), args[2]
  wrk.headers["Content-Type"] = "application/json"
end

delay = function()
  local at = milliseconds()
  due = math.max((due or at) + each, at - 100)
  return math.max(0, math.floor(due - at))
end

request = function()
  n = n + 1
  return wrk.format("POST", path, nil, '{"query":{"match":{"body":"lamp river ' .. n .. '"}}}')
end
