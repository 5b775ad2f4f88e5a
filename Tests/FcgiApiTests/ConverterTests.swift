import ChatCore
import Testing

@testable import fcgi_api

@Suite struct ConverterTests {
    private func others(_ text: String) -> WireValue? { try? JSONReader.decode(Array(text.utf8), .others) }

    /// All of this is JSON (RFC 8259), and not what our clients write.
    @Test func theJSONOfOthersIsReadAsFarAsTheGrammarGoes() {
        #expect(others(#"{"a": 1, "a": 2}"#)?["a"] == .int(1))
        for half in [#"\ud800"#, #"\udc00"#, #"\ud800\n"#, #"\ud800\u0041"#, #"\ud800\ud800"#, #"\ud83d\ude00"#] {
            let text = others("[\"\(half)\"]")?.array?.first?.string
            #expect(text.map { Array($0.unicodeScalars).contains("\u{fffd}") } == (half != #"\ud83d\ude00"#))
            #expect(((try? JSONReader.decode(Array("[\"\(half)\"]".utf8))) == nil) == (half != #"\ud83d\ude00"#))
        }
        #expect(others(#"["\ud800\u0041"]"#) == .array([.string("\u{fffd}A")]))
        #expect(others("[1e999, -1e999]") == .array([.null, .null]))
        for damage in ["[1", "[1,]", "{\"a\"}", "[\"\\ud8\"]", "[\"\\ud800\\u00\"]", "[\"a\nb\"]", "[01]"] {
            #expect(others(damage) == nil, "\(damage)")
        }
    }

    @Test func whatIsTooLargeIsNoDamage() {
        func isLimit(_ text: String) -> Bool? {
            do throws(WireError) {
                _ = try JSONReader.decode(Array(text.utf8), .others)
                return nil
            } catch { return error.isLimit }
        }
        let deep = String(repeating: "[", count: 65) + String(repeating: "]", count: 65)
        let wide = "{" + (0...512).map { "\"\($0)\": 1" }.joined(separator: ",") + "}"
        #expect(isLimit(deep) == true && isLimit(wide) == true && isLimit("[") == false && isLimit("[1]") == nil)
    }

    @Test(
        arguments: [
            ("1600000000.123456", 1_600_000_000_123), ("1600000000.5", 1_600_000_000_500),
            ("1600000000", 1_600_000_000_000), ("0.0", 0),
            ("253402300799.999999", 253_402_300_799_999), ("253402300800.0", nil), ("-5.0", nil), ("+5.0", nil),
            ("1.2.3", nil), ("1.", nil),
            (".5", nil), ("", nil), ("1e5", nil), ("1.5\u{301}", nil), ("1600000000.-5", nil),
            ("99999999999999999999.0", nil),
        ] as [(String, Int64?)])
    func timesOfSlack(_ text: String, _ time: Int64?) { #expect(SlackConverter.time(text) == time) }

    @Test func reasonsAreBoundedAndHaveTheirFirstPlaces() {
        var losses = ConversionLosses()
        for number in 0..<1000 {
            losses.note("reason \(number)") { "line \(number)" }
            losses.note("another") { "line \(number)" }
        }
        #expect(losses.sentences.count == 51)
        #expect(losses.sentences.first == "left out: 1000 × another [line 0, line 1, line 2 …]")
        #expect(losses.sentences.contains("left out: 951 × something else [line 49, line 50, line 51 …]"))
    }
}
