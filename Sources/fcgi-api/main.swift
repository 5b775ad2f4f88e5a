import ArgumentParser

FcgiApi.main()
