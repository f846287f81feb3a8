const { Encoder } = require('bert-layers')
const { check } = require('./check.cjs')

check(Encoder).then(() => console.log('ok'))
