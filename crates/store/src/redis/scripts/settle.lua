-- Applies effects under a claim, keeps it or moves on, and claims as `next` asks. KEYS[12]: the operation. `intend`: a message,
-- its bucket, and what is applied if a claim comes to it.

local before = answered(KEYS[12])
if before then
    -- What was handed out then is handed out again, while it lasts.
    local claims, given = {}, before[4] or {}
    local s = given[1] and load(ask.id, named_keys)
    for _, one in ipairs(s and given or {}) do
        if is_held(s.c[one[1]], one[2]) then table.insert(claims, describe(s, one[1], pack(s.c))) end
    end
    return pack({ before, claims })
end

local function answer(what)
    remember(KEYS[12], what)
    return pack({ what })
end

local s = load(ask.id, named_keys)
if not s or not is_held(s.c[ask.lane], ask.claim) then return answer({ 'lost' }) end
local failed = failed_guard(s, ask.guards)
if failed then return answer({ 'guarded', failed, s.c.version }) end
-- Before the effects: those that move the lane have the last word.
if ask.advance then
    local l = s.c[ask.lane]
    if l.replay then
        local kept = {}
        for _, redo in ipairs(l.redo or {}) do
            if redo[1] ~= l.seq then table.insert(kept, redo) end
        end
        l.redo = kept[1] and kept or nil
    else
        done_through(s, ask.lane, l.seq)
    end
    let_go(l)
    due_at(s, ask.lane, now)
end
for _, effect in ipairs(ask.effects) do apply(s, effect) end
local given = {}
for _, next in ipairs(ask.next) do
    if claim(s, next[1], next[2], next[3]) then table.insert(given, { next[1], next[2] }) end
end
if ask.intend and s.claimed.deliver and find(s, ask.intend[1], ask.intend[2]) == s.c.deliver.seq then
    for _, effect in ipairs(ask.intend[3]) do apply(s, effect) end
end

local record = write(s)
local done = { 'done', s.c.version, s.c.last, given }
remember(KEYS[12], done)
local claims = {}
for _, one in ipairs(given) do table.insert(claims, describe(s, one[1], record)) end
return pack({ done, claims, now, posted(s) })
