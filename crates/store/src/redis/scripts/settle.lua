-- Applies effects under a claim, keeps it or moves on, and claims as `next` asks. KEYS[12]: the operation.

local before = answered(KEYS[12])
if before then
    -- The claim that was handed out then is handed out again, while it lasts.
    local given = before[4]
    local s = given and load(ask.id, named_keys)
    local lasts = s and is_held(s.c[ask.next[1]], given)
    return pack({ before, lasts and describe(s, ask.next[1], pack(s.c)) })
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
local claimed = ask.next and claim(s, ask.next[1], ask.next[2], ask.next[3])

local record = write(s)
local done = { 'done', s.c.version, s.c.last, claimed and ask.next[2] }
remember(KEYS[12], done)
return pack({ done, claimed and describe(s, ask.next[1], record), now, posted(s) })
