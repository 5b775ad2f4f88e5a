import ChatCore
import Glibc
import Testing

@testable import fcgi_api

/// The values of the RFCs and of the services that use them.
@Suite struct ChecksumsTests {
    private static let known = [
        "content-md5": "JfnnlDI7RTiF9RgfG2JNCw==",
        "x-amz-checksum-sha1": "98O8HYCOBHMq32eZZczDTKeuNEE=",
        "x-amz-checksum-sha256": "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
        "x-amz-checksum-crc32": "y/Q5Jg==",
        "x-amz-checksum-crc32c": "4waSgw==",
    ]

    private func check(_ wanted: [String: String], of parts: [String]) throws(Refusal) {
        var sums = Checksums(wanted.keys)
        for part in parts { Array(part.utf8).withUnsafeBytes { sums.update($0) } }
        try sums.check(wanted.map { ($0.key, $0.value) })
    }

    @Test(arguments: Checksums.names) func eachIsTheOneOfItsName(name: String) throws {
        let wanted = [name: try #require(Self.known[name])]
        try check(wanted, of: ["123456789"])
        try check(wanted, of: ["1234", "", "56789"])
        #expect(throws: Refusal.self) { try check(wanted, of: ["123456780"]) }
        #expect(throws: Refusal.self) { try check([name: "4waSgw"], of: ["123456789"]) }
    }

    @Test func everyOneThatWasSentMustFit() throws {
        try check(Self.known, of: ["123456789"])
        for name in Checksums.names {
            var wanted = Self.known
            wanted[name] = "AAAA"
            let refusal = #expect(throws: Refusal.self) { try check(wanted, of: ["123456789"]) }
            #expect(refusal?.code == .checksumMismatch && refusal?.text.contains(name) == true)
        }
    }
}

@Suite struct SettingsFileTests {
    @Test func commentsAndOrderSurviveAChange() throws {
        var file = SettingsFile("# the first\nA=1\n\nB=2 # no comment\n#A=9\nC=\n")
        #expect(file["A"] == "1" && file["B"] == "2 # no comment" && file["C"] == nil && file["D"] == nil)
        try file.set("A", "3")
        try file.set("B", "2 # no comment")
        try file.set("C", "c")
        try file.set("D", "x=y")
        #expect(file.text == "# the first\nA=3\n\nB=2 # no comment\n#A=9\nC=c\nD=x=y\n")
        #expect(file.changed == ["A", "C", "D"])
        #expect(file["D"] == "x=y")
    }

    /// As in the programs.
    @Test func theLastLineOfANameCounts() throws {
        var file = SettingsFile("A=1\nA=2\nAB=3")
        #expect(file["A"] == "2")
        try file.set("A", "4")
        #expect(file.text == "A=1\nA=4\nAB=3\n" && file["A"] == "4")
    }

    @Test(arguments: ["a\nB=2", "a\r", "\u{0}", "\u{7f}", "\t"]) func aValueThatWouldBeAnotherLineIsRefused(
        value: String
    ) {
        var file = SettingsFile("A=1\n")
        #expect(throws: (any Error).self) { try file.set("A", value) }
        #expect(file.text == "A=1\n" && file.changed.isEmpty)
    }
}
