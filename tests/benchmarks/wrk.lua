-- wrk's figures as JSON, in microseconds; what stands behind `--` is posted. The request is made once: that stays out
-- of Lua.
init = function(arguments)
  if arguments[1] then
    wrk.method, wrk.body = 'POST', arguments[1]
    wrk.headers['Content-Type'] = 'application/json'
  end
end

done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "duration": %d, "bytes": %d, "p50": %d, "p99": %d, "max": %d, '
      .. '"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
    summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99), latency.max,
    e.connect, e.read, e.write, e.status, e.timeout
  ))
end
