-- Takes one inbound message. KEYS[12]: where its dedupe key is known; KEYS[13]: where its thread is.
-- The caller says whose conversation it takes the thread's to be, as its keys have to be named beforehand; where that is not so,
-- it is told which it is and comes again.

local known = call('HGET', KEYS[12], ask.dedupe)
if known then return pack({ 'known', known:sub(1, 16), known:sub(17) }) end

local id = call('HGET', KEYS[13], ask.thread)
if id and id ~= ask.id then return pack({ 'elsewhere', id }) end
if not id and not ask.new then return pack({ 'elsewhere', false }) end
if ask.low then return pack({ 'full' }) end

local s
if id then
    s = load(id, named_keys)
    if not s then refuse('the thread names a conversation that is not there') end
else
    local c = ask.new
    c.first, c.last, c.version, c.people = 1, 0, 0, ''
    c.agent, c.deliver = { cursor = 0 }, { cursor = 0 }
    s = hand(ask.id, c, named_keys)
end
for _, effect in ipairs(ask.effects) do apply(s, effect) end
if not s.added[1] then refuse('an inbound message adds an event') end
local claimed = ask.claim and claim(s, ask.claim[1], ask.claim[2], ask.claim[3])

if not id then call('HSET', KEYS[13], ask.thread, s.id) end
call('HSET', KEYS[12], ask.dedupe, s.id .. ask.message)
local record = write(s)
return pack({ 'new', s.c.last, claimed and describe(s, ask.claim[1], record), now, posted(s) })
