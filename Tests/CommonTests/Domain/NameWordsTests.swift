import ChatCore
import Testing

@Suite struct NameWordsTests {
    @Test(arguments: [
        ("ann", ["ann"]), ("  Ann-Lena O'Brien ", ["Ann", "Lena", "O", "Brien"]),
        ("ann.other@x", ["ann", "other", "x"]),
        ("e\u{301}va", ["e\u{301}va"]), ("李小龙", ["李小龙"]), ("a b c d e f", ["a", "b", "c", "d", "e"]),
        ("4711", ["4711"]), ("a':*|!b\\", ["a", "b"]), ("a\0b", ["a", "b"]),
    ])
    func aNameIsCutAtEverythingThatIsNoLetter(_ text: String, _ words: [String]) {
        #expect(NameWords(text)?.words.map { Array($0.utf8) } == words.map { Array($0.utf8) })
    }

    @Test(arguments: ["", " ", "'", "!&|", "👍", "\u{200b}"]) func nothingIsNoSearch(_ text: String) {
        #expect(NameWords(text) == nil)
    }
}
