-- One request, over and over; at the end a line of JSON with what came of it.
-- Arguments: the file of the body, its media type, that of the answer, and, if
-- clients wait before each request, for how many milliseconds.

function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  wrk.headers["Content-Type"] = args[2]
  wrk.headers["Accept"] = args[3]
  file:close()
  if args[4] then
    -- wrk looks whether there is such a function.
    function delay() return tonumber(args[4]) end
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%f,"p50":%f,"p99":%f,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
