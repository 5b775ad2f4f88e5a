import ChatCommands

FcgiApi.runProgram()
