import Testing

@testable import ws_relay

@Suite struct RelayMemoryTests {
    /// A successor reads what a killed relay of another build has left. When one of these sizes changes, `version` must
    /// change with it: write both down here.
    @Test func recordsOfAnotherShapeHaveAnotherVersion() {
        #expect(
            [
                MemoryLayout<RelayMemory.Header>.size, MemoryLayout<Connection>.stride,
                MemoryLayout<RelayMemory.Room>.stride,
                MemoryLayout<RelayMemory.Frame>.stride, MemoryLayout<CommandJournal.JournalEntry>.stride,
            ] == [72, 88, 32, 24, 16])
        #expect(RelayMemory.version == 4)
    }
}
