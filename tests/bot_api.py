#!/usr/bin/env python3
"""Holds the fake Bot API of crates/testkit to a client that is not ours: aiogram must read all it answers, strictly typed,
and must take its refusals for what they are.

    tests/bot_api.py BINARY    the built example `bot_api` of crates/testkit

Needs what tests/bot_api.txt lists. Ends with 1 and says what is wrong when something is.
"""

import asyncio
import io
import json
import subprocess
import sys

from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramConflictError,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from aiogram.types import (
    BotCommand,
    BufferedInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    LinkPreviewOptions,
    MessageEntity,
    ReplyParameters,
)
from aiogram.webhook.aiohttp_server import SimpleRequestHandler
from aiohttp import web


class Platform:
    """The fake, by its standard input and output."""

    def __init__(self, binary):
        self.process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        about = json.loads(self.process.stdout.readline())
        self.url, self.token = about["url"], about["token"]

    def do(self, what, **more):
        self.process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def bot(self, token=None):
        return Bot(token or self.token, session=AiohttpSession(api=TelegramAPIServer.from_base(self.url)))


async def refused(kind, words, call):
    """The error of that very kind, with these words in it."""
    try:
        answer = await call
    except Exception as error:  # noqa: BLE001: whatever it is, it is looked at
        assert type(error) is kind, f"{type(error).__name__} ({error}) in place of {kind.__name__}"
        assert words in str(error), f"{error}: does not say {words!r}"
        return error
    raise AssertionError(f"{kind.__name__} expected, got {answer}")


async def polling(platform, bot):
    ada = platform.do("person", name="Ada")
    said = platform.do("say", chat=ada, user=ada, text="/start shop")
    platform.do("edit", chat=ada, message=said, text="/start")
    for kind in ["photo", "document", "voice", "video", "audio", "animation", "sticker", "video_note"]:
        platform.do("file", chat=ada, user=ada, kind=kind, name="a.bin", content="bytes of " + kind, caption="")
    platform.do("album", chat=ada, user=ada, caption="two")
    updates = await bot.get_updates(allowed_updates=["message", "edited_message", "message_reaction", "callback_query",
                                                     "my_chat_member"])
    assert updates[0].message.entities[0].type == "bot_command" and updates[0].message.from_user.language_code == "en"
    assert updates[1].edited_message.text == "/start"
    kinds = [update.message.content_type for update in updates[2:]]
    assert kinds == ["photo", "document", "voice", "video", "audio", "animation", "sticker", "video_note", "photo",
                     "photo"], kinds
    assert updates[-1].message.media_group_id == updates[-2].message.media_group_id
    file = await bot.get_file(updates[3].message.document.file_id)
    content = io.BytesIO()
    await bot.download_file(file.file_path, content)
    assert content.getvalue() == b"bytes of document"
    await bot.get_updates(offset=updates[-1].update_id + 1)
    platform.do("react", chat=ada, user=ada, message=said, emoji="👍")
    platform.do("shut", chat=ada, user=ada)
    platform.do("open", chat=ada, user=ada)
    reaction, blocked, _ = await bot.get_updates()
    assert reaction.message_reaction.new_reaction[0].emoji == "👍"
    assert blocked.my_chat_member.new_chat_member.status == "kicked"

    # aiogram's own loop, until it has confirmed what it got.
    await bot.get_updates(offset=-1)
    dispatcher, got = Dispatcher(), []

    @dispatcher.message()
    async def handle(message):
        got.append(message.text)
        await message.answer("re: " + message.text)

    running = asyncio.create_task(dispatcher.start_polling(bot, handle_signals=False, close_bot_session=False))
    for at in range(200):
        platform.do("say", chat=ada, user=ada, text=str(at))
    async with asyncio.timeout(20):
        while platform.do("pending") or platform.do("count", method="sendMessage") < 200:
            await asyncio.sleep(0.01)
    await dispatcher.stop_polling()
    await running
    assert sorted(map(int, got)) == list(range(200))

    # Of two programs that poll the older one is told.
    first = asyncio.create_task(bot.get_updates(timeout=20))
    polls = platform.do("count", method="getUpdates")
    while not first.done():
        other = await bot.get_updates(timeout=0)
        assert other == []
        await asyncio.sleep(0.01)
    assert platform.do("count", method="getUpdates") > polls
    await refused(TelegramConflictError, "terminated by other getUpdates request", first)


async def webhook(platform, bot):
    ada = platform.do("person", name="Ada")
    dispatcher, got, enough = Dispatcher(), [], asyncio.Event()

    @dispatcher.message()
    async def handle(message):
        got.append(message.text)
        if len(got) == 20:
            enough.set()

    app = web.Application()
    SimpleRequestHandler(dispatcher, bot, secret_token="s3cret", handle_in_background=False).register(app, "/push")
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    await refused(TelegramBadRequest, "An HTTPS URL must be provided", bot.set_webhook("ftp://example.org/"))
    assert await bot.set_webhook(f"http://127.0.0.1:{port}/push", secret_token="s3cret", max_connections=1)
    for at in range(20):
        platform.do("say", chat=ada, user=ada, text=str(at))
    async with asyncio.timeout(20):
        await enough.wait()
        while platform.do("pending"):
            await asyncio.sleep(0.01)
    assert got == [str(at) for at in range(20)], got
    info = await bot.get_webhook_info()
    assert info.url.endswith("/push") and info.max_connections == 1 and info.pending_update_count == 0
    await refused(TelegramConflictError, "while webhook is active", bot.get_updates())
    assert await bot.delete_webhook()
    assert (await bot.get_webhook_info()).url == ""
    await runner.cleanup()


async def sends(platform, bot):
    ada = platform.do("person", name="Ada")
    question = platform.do("say", chat=ada, user=ada, text="Where?")
    keyboard = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="Yes", callback_data="y")]])
    sent = await bot.send_message(
        ada, "Hello 😀 there", entities=[MessageEntity(type="bold", offset=6, length=2)], reply_markup=keyboard,
        reply_parameters=ReplyParameters(message_id=question), link_preview_options=LinkPreviewOptions(is_disabled=True))
    assert sent.reply_to_message.text == "Where?" and sent.entities[0].extract_from(sent.text) == "😀"
    assert sent.reply_markup.inline_keyboard[0][0].callback_data == "y"
    query = platform.do("press", chat=ada, user=ada, message=sent.message_id, label="Yes")
    assert await bot.answer_callback_query(query)
    platform.do("callbacks_live", ms=0)
    query = platform.do("press", chat=ada, user=ada, message=sent.message_id, label="Yes")
    await refused(TelegramBadRequest, "query is too old", bot.answer_callback_query(query))
    edited = await bot.edit_message_text("Bye", chat_id=ada, message_id=sent.message_id)
    assert edited.text == "Bye" and edited.edit_date
    again = bot.edit_message_text("Bye", chat_id=ada, message_id=sent.message_id)
    await refused(TelegramBadRequest, "message is not modified", again)
    assert await bot.delete_message(ada, sent.message_id)
    await refused(TelegramBadRequest, "message to delete not found", bot.delete_message(ada, sent.message_id))

    upload = BufferedInputFile(b"some bytes", "a.txt")
    photo = await bot.send_photo(ada, upload, caption="seen")
    assert photo.caption == "seen" and photo.photo[-1].file_size == 10
    by_id = await bot.send_photo(ada, photo.photo[-1].file_id)
    assert by_id.photo[-1].file_id == photo.photo[-1].file_id
    for method, kind in [(bot.send_document, "document"), (bot.send_voice, "voice"), (bot.send_video, "video"),
                         (bot.send_audio, "audio"), (bot.send_animation, "animation"), (bot.send_sticker, "sticker")]:
        message = await method(ada, upload)
        content = io.BytesIO()
        await bot.download(getattr(message, kind), content)
        assert content.getvalue() == b"some bytes", kind
    album = await bot.send_media_group(ada, [InputMediaPhoto(media=upload, caption="one"), InputMediaPhoto(media=upload)])
    assert len(album) == 2 and album[0].media_group_id == album[1].media_group_id and album[0].caption == "one"
    captioned = await bot.edit_message_caption(chat_id=ada, message_id=photo.message_id, caption="looked at")
    assert captioned.caption == "looked at"
    marked = await bot.edit_message_reply_markup(chat_id=ada, message_id=photo.message_id, reply_markup=keyboard)
    assert marked.reply_markup

    assert (await bot.get_me()).username == "desk_bot"
    assert await bot.send_chat_action(ada, "typing")
    assert (await bot.get_chat(ada)).type == "private"
    assert (await bot.get_chat_member(ada, ada)).status == "member"
    assert await bot.set_my_commands([BotCommand(command="start", description="Begin")])
    assert (await bot.get_my_commands())[0].command == "start"
    group = platform.do("group", name="Garden")
    assert await bot.leave_chat(group)
    await refused(TelegramForbiddenError, "bot was kicked from the group chat", bot.send_message(group, "a"))
    forum = platform.do("forum", name="Forum")
    assert (await bot.send_message(forum, "a", message_thread_id=7)).message_thread_id == 7


async def refusals(platform, bot):
    ada = platform.do("person", name="Ada")
    stranger = platform.bot("1:wrong")
    await refused(TelegramUnauthorizedError, "Unauthorized", stranger.get_me())
    await stranger.session.close()
    await refused(TelegramNotFound, "method not found", bot.get_my_star_balance())
    await refused(TelegramBadRequest, "chat not found", bot.send_message(1, "a"))
    await refused(TelegramBadRequest, "message text is empty", bot.send_message(ada, " "))
    await refused(TelegramBadRequest, "message is too long", bot.send_message(ada, "a" * 4097))
    long = bot.send_photo(ada, BufferedInputFile(b"a", "a.jpg"), caption="a" * 1025)
    await refused(TelegramBadRequest, "message caption is too long", long)
    beyond = bot.send_message(ada, "a", entities=[MessageEntity(type="bold", offset=0, length=2)])
    await refused(TelegramBadRequest, "ends after the end of the text", beyond)
    platform.do("shut", chat=ada, user=ada)
    await refused(TelegramForbiddenError, "bot was blocked by the user", bot.send_message(ada, "a"))
    platform.do("open", chat=ada, user=ada)
    group = platform.do("group", name="Garden")
    new = platform.do("migrate", chat=group, user=ada)
    moved = await refused(TelegramMigrateToChat, "", bot.send_message(group, "a"))
    assert moved.migrate_to_chat_id == new
    assert await bot.send_message(new, "a")
    platform.do("flood", retry_after=9)
    assert await bot.send_message(ada, "a")
    flood = await refused(TelegramRetryAfter, "", bot.send_message(ada, "a"))
    assert flood.retry_after == 9
    platform.do("flood", retry_after=0)
    platform.do("status", method="sendMessage", status=502)
    await refused(TelegramServerError, "Bad Gateway", bot.send_message(ada, "a"))
    before = len(platform.do("sent"))
    platform.do("reset", method="sendMessage")
    await refused(TelegramNetworkError, "", bot.send_message(ada, "a"))
    assert len(platform.do("sent")) == before + 1, "reset after it was done"


async def main(binary):
    platform = Platform(binary)
    bot = platform.bot()
    for part in [polling, webhook, sends, refusals]:
        await part(platform, bot)
        print("ok", part.__name__)
    await bot.session.close()
    platform.process.stdin.close()
    assert platform.process.wait(10) == 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1]))
