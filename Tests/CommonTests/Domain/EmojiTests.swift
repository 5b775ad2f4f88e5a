import ChatCore
import Testing

@Suite struct EmojiTests {
    @Test(arguments: [
        ("\u{2764}", "\u{2764}\u{fe0f}"), ("\u{2764}\u{fe0f}", "\u{2764}\u{fe0f}"),
        ("\u{2764}\u{fe0e}", "\u{2764}\u{fe0f}"),
        ("\u{1f44d}", "\u{1f44d}"), ("\u{1f44d}\u{fe0f}", "\u{1f44d}"), ("\u{1f44d}\u{1f3fd}", "\u{1f44d}\u{1f3fd}"),
        ("\u{261d}\u{1f3fd}", "\u{261d}\u{1f3fd}"), ("1\u{20e3}", "1\u{fe0f}\u{20e3}"),
        ("#\u{fe0f}\u{20e3}", "#\u{fe0f}\u{20e3}"),
        ("\u{1f1e9}\u{1f1ea}", "\u{1f1e9}\u{1f1ea}"),
        ("\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}", "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}"),
        ("\u{2764}\u{200d}\u{1f525}", "\u{2764}\u{fe0f}\u{200d}\u{1f525}"),
        (
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}"
        ), ("\u{a9}", "\u{a9}\u{fe0f}"),
    ])
    func hasOneSpelling(_ text: String, _ normal: String) throws {
        #expect(areSameBytes(try #require(Emoji.normalized(text)), normal))
        #expect(areSameBytes(try #require(Emoji.normalized(normal)), normal))
    }

    @Test(arguments: [
        "", "a", "7", "#", "\u{fe0f}", "\u{200d}", "\u{200b}", "\u{301}", "\u{20e3}", "a\u{20e3}", "\u{1f1e9}",
        "\u{1f1e9}\u{1f1ea}\u{1f1e9}", "\u{2764}\u{fe0f}\u{2764}\u{fe0f}", "\u{2764}\u{200d}", "\u{200d}\u{2764}",
        "\u{1f44d}\u{200d}\u{200d}\u{1f44d}", "\u{1f44d}a", "\u{1f44d} ", "\u{1f525}\u{1f3fd}", "\u{1f3f4}\u{e0067}",
        "\u{1f44d}\u{301}",
    ])
    func isOne(_ text: String) { #expect(Emoji.normalized(text) == nil) }

    @Test func heartsMeetInOneReaction() {
        var scene = Scene()
        let (room, id) = (scene.room(), scene.id())
        _ = scene.send(room, scene.owner, id: id)
        scene.batch.messages[id]?.reactions = [Reaction(emoji: "\u{2764}", users: [scene.owner])]
        let heart = "\u{2764}\u{fe0f}"
        #expect(scene.act(room, scene.member, .react(message: id, reaction: heart, remove: false)).refusal == nil)
        #expect(scene.batch.messages[id]?.reactions.map(\.users.count) == [2])
        #expect(scene.act(room, scene.owner, .react(message: id, reaction: heart, remove: true)).refusal == nil)
        #expect(scene.batch.messages[id]?.reactions.map(\.users) == [[scene.member]])
    }
}
