-- Takes a place in each of some budgets, or in none. KEYS: one for each, with the moments of the places that were taken last, in
-- their order.

local call = redis.call
local ask = cmsgpack.unpack(ARGV[1])
local clock = call('TIME')
local now = ask.now or math.floor((clock[1] * 1000000 + clock[2]) / 1000)

local at, taken = now, {}
for i, budget in ipairs(ask.budgets) do
    local kept = call('GET', KEYS[i])
    local moments = kept and cmsgpack.unpack(kept) or {}
    local most, within = budget[1], budget[2]
    -- So many places further on the span is over.
    if #moments >= most then at = math.max(at, moments[#moments - most + 1] + within) end
    taken[i] = moments
end
if at - now > ask.patience then return cmsgpack.pack({ at - now, 0 }) end

for i, budget in ipairs(ask.budgets) do
    local moments, place = taken[i], #taken[i] + 1
    while place > 1 and moments[place - 1] > at do place = place - 1 end
    table.insert(moments, place, at)
    while #moments > budget[1] do table.remove(moments, 1) end
    call('SET', KEYS[i], cmsgpack.pack(moments), 'PX', moments[#moments] - now + budget[2])
end
return cmsgpack.pack({ at - now, 1 })
