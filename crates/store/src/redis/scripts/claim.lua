-- Claims lanes of one kind in one partition. KEYS: schedule, waits, the operation; then each conversation's own and its log.
-- With `again`, only what this operation claimed before is looked at.

local claims, given = {}, answered(KEYS[3]) or {}
for number, wanted in ipairs(ask.wanted) do
    local id, fence = wanted[1], wanted[2]
    local keys = { conversation = KEYS[2 * number + 2], log = KEYS[2 * number + 3], schedule = KEYS[1], waits = KEYS[2] }
    local s = load(id, keys)
    if not s then
        call('ZREM', KEYS[1], id .. lanes[ask.lane].letter)
    elseif ask.again then
        if is_held(s.c[ask.lane], fence) then table.insert(claims, describe(s, ask.lane, pack(s.c))) end
    elseif claim(s, ask.lane, fence, ask.lease) then
        table.insert(claims, describe(s, ask.lane, write_record(s)))
        table.insert(given, { id, fence })
    elseif s.at[ask.lane] then
        write_record(s)
    end
end
if not ask.again and claims[1] then remember(KEYS[3], given) end
return pack(claims)
