-- Sends the requests of a file in order, each once. wrk -s bench/load.lua … -- FILE OFFSET [again]
--
-- Of each request the file has its length in 7 digits, then the request. OFFSET is where the first one begins. Behind the
-- last one nothing more is sent, and `exhausted` says so; with `again` it goes on with the first one of the file.

local threads = {}
local file, again, unsent

-- Read by `done`, which has a state of its own, of each thread.
sent = 0
exhausted = 0

function setup(thread)
    table.insert(threads, thread)
end

function init(args)
    file = assert(io.open(args[1], "rb"))
    file:setvbuf("full", 1048576)
    file:seek("set", tonumber(args[2]))
    again = args[3] == "again"
    -- wrk asks for one request before it begins, looks at it, and does not send it.
    unsent = read()
    first = true
end

function read()
    local length = file:read(7)
    if not length and again then
        file:seek("set", 0)
        length = file:read(7)
    end
    return length and file:read(tonumber(length))
end

function request()
    if first then
        first = false
        return unsent
    end
    local next = unsent
    if not next then
        exhausted = 1
        return ""
    end
    unsent = read()
    sent = sent + 1
    return next
end

function done(summary, latency)
    local all, ended = 0, 0
    for _, thread in ipairs(threads) do
        all = all + thread:get("sent")
        ended = ended + thread:get("exhausted")
    end
    local errors = summary.errors
    io.write(string.format(
        '{"oks":%d,"errors":%d,"sent":%d,"exhausted":%s,"duration_us":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d,"max_us":%d}\n',
        summary.requests - errors.status,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        all, tostring(ended > 0), summary.duration,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
